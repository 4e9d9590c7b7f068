"""Prompts: their grammar, token ids, and the conditionings that a network reads."""
