"""Objectives: each is (model, batch, noise) -> named losses, and knows no network."""
