"""A step of training: precision, backend of softmax attention, optimiser, schedule and averaged weights."""
