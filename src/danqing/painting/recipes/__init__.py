"""What a model that denoises can do: each recipe is one row of `denoising.RECIPES`."""
