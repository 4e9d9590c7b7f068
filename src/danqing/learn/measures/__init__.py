"""Measures of what was learned: the quality of pictures and the likelihood of data."""
