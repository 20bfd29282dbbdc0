"""What a spelling means: alias seeds, what the models found, files to try."""
