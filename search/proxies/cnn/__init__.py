"""Two small CNNs, the analogue of MQ-Bench-101: layers, weights, quantisation, tables."""
