"""The default model as a folder of diffusers' own classes, with a pipeline file for the draft."""
