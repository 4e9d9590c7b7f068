"""The commands: one file a kind of them, made from `Request`."""
