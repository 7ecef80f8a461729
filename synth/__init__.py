"""Yosys: area of every operator and of the whole, parsed from JSON and cached by content."""
