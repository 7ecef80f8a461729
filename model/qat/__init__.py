"""Quantisation-aware training: codes forward, gradients straight through."""
