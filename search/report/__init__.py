"""Reports of a search: one HTML page, and pictures."""
