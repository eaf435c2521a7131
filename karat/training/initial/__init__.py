"""The weights that training starts from: read, kept in the study's folder, and put into a model."""
