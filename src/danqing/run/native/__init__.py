"""Kernels of our own for processors of x86-64, where torch loses its time: attention, normalisation, convolutions."""
