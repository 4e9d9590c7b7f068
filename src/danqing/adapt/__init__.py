"""What attaches to a network and comes off without trace: LoRA, learned words, tags."""
