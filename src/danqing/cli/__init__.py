"""The command line: what its commands are made of, and where they come together."""
