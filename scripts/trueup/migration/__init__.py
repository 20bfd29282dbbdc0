"""Changing a column in place, and taking it back."""
