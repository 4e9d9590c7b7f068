"""From a resolved request to its picture: models loaded and put together, their recipes and their finishes."""
