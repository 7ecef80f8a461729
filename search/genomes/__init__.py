"""Searches over the bit widths of a network."""
