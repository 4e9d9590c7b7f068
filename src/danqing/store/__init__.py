"""Models on disk: described, found by name, fetched, converted; only converting loads torch."""
