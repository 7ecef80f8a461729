"""Layers in which one adder does the work of all operators, bit by bit, by a program."""
