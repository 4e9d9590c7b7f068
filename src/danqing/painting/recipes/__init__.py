"""What a model that denoises can do: each recipe is one row of `danqing.request.names.RECIPES`."""
