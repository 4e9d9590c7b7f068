"""What a training step sees: the order of pictures, folders of them, and how they are changed."""
