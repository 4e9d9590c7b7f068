"""Wrappers of a guided estimate, Denoise -> Denoise, beside those of `danqing.guide`: a file for each method."""
