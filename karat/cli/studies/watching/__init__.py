"""What `karat watch` and `karat show` say of a study: progress, and decisions."""
