"""What commands print as text: columns, paragraphs, and what to look at next."""
