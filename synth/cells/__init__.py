"""Standard cells: Liberty files, silicon area, delay and power."""
