"""What our own networks see in a picture, for painting and for measuring alike."""
