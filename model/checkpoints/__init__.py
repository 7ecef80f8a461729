"""Float networks: evaluation, training, and import from elsewhere."""
