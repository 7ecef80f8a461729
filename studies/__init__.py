"""Measurements behind docs/results.md. Not installed; run by `python -m studies`."""
