"""Models of other programs, described as ours are: a single file, or a folder of diffusers."""
