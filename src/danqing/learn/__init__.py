"""Training: what is minimised, what is shown, the loop, and measures of what was learned."""
