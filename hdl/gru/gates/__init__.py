"""Layers in which r, z and n go one after the other through one of each unit, a word a cycle."""
