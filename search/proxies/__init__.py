"""Training-free proxies that rank bit widths, and their evolution (EMQ, arXiv 2307.10554)."""
