"""What data sets on disk share: listing and decoding of image files, what a check has seen, downloads."""
