"""Units for piecewise-linear tables: loadable, selected, fixed, without a multiplier, FP32."""
