"""What a person keeps in the folder of settings: lists of words, styles, presets."""
