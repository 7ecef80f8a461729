"""Searches over hardware units of a function: error against cells."""
