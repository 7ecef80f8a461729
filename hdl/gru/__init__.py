"""The GRU network: layers, their sequencing, and the classifier."""
