"""Torch modules that compute a function as the integer unit does."""
