"""Models side by side: what they paint, measured by the same features on the same art."""
