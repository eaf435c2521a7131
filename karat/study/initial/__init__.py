"""The weights that a study starts from: found where the space says, compared with the journal, and kept."""
