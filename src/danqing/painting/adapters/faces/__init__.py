"""Adapters that keep a face: what is read of a given one, and what is attached for it."""
