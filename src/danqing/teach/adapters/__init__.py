"""Trainings of what attaches to a model that somebody has: LoRAs, learned words and control networks, of a folder."""
