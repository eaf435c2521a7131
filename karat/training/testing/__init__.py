"""What a trained model is measured by, beside accuracy and loss, on clean and on shifted images."""
