"""Data of the book: generated digits, files that travel with it, downloads."""
