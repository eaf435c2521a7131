"""Commands on the studies that a storage folder holds; each names a study by its name or its folder."""
