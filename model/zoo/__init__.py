"""Shipped float checkpoints."""
