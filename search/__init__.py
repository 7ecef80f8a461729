"""Searches: over the break points of piecewise-linear tables, exact and genetic."""
