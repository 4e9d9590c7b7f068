"""Faces in pictures: where they are, their points, and whose they are."""
