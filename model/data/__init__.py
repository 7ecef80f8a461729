"""Data sets and the tasks that are cut from them."""
