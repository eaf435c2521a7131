"""What a design shows beside the differences of its arms to the reference."""
