"""Simulation of the emitted Verilog against the golden model."""
