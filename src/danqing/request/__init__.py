"""What is asked for: the one record behind every picture, the names it may state, and its A1111 text; free of torch."""
