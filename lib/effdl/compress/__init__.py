"""Compression combined, and what comes next: section 4.4."""
