"""Solvers, one file a family, and the one loop that walks them."""
