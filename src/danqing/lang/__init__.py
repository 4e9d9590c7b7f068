"""What the command line shows in the reader's language: which one is chosen, its catalogue, and the messages that are
found in it. The code itself speaks English."""
