"""Searches over the break points of tables: exact, genetic, and simple rivals."""
