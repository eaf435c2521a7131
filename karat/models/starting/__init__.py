"""Models that start from others: from their weights, or with their attention."""
