"""Shipped GRUs as networks of tables: calibration, tables, statistics."""
