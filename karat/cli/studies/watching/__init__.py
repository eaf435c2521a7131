"""What `karat watch` shows of a study."""
