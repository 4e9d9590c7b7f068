"""Trainings that are ready to use: the families' networks taught a folder of one's own pictures."""
