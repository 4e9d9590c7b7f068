"""The training loop: optimisers, checkpoints, the journal, experiments and what runs them."""
