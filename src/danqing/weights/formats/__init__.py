"""Formats of files that hold tensors, each read by a reader that runs nothing."""
