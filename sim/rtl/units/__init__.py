"""Table units: test bench and campaign."""
