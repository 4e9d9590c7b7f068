"""Families of networks, one file each: how a file shows that it holds one, and what its shapes say of the config."""
