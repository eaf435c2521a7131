"""What is recorded of a training beside its metrics, and changes nothing in it: weights of epochs, health of attention."""
