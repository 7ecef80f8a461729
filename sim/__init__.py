"""The golden integer model, and the regressions that hold the Verilog to it."""
