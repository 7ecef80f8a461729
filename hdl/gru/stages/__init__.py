"""Dense layers in front of and behind the GRU layers."""
