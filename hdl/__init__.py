"""Amaranth components: one operator, one module, and the tops that wire them."""
