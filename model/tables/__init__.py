"""Piecewise-linear tables of functions: formats, optimum, range reduction, composites."""
