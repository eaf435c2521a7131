"""Arms of equal cost: which values of their settings bring them to the cost of their reference."""
