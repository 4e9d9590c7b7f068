"""What painting takes on this machine: which way to compute is the fastest, and how much memory a picture needs."""
