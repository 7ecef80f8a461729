"""From a float network to an integer model: calibration, scales, activations."""
