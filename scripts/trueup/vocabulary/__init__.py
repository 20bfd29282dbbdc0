"""The meaning of spellings: alias seeds, findings of the models, files to try."""
