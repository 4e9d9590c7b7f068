"""Weights of networks: formats of files, layouts of names, families of networks, loading and saving."""
