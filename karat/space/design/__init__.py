"""The design of a space: read from the file, and checked against its factors, its search and its confirmation."""
