"""Models that paint without denoising: each family is one row of `base.GENERATORS`."""
