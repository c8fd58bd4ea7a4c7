"""Measures how fast networks train here, beside the loops that people write by hand: ``lit-cnn benchmark``."""
