"""What `karat compare` compares, and how."""
