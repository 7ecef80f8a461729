"""Genogate, genomes to gates: searched bit widths, generated and verified GRU hardware."""

__version__ = "0.1.0"
