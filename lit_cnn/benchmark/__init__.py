"""Measures how fast and how well networks train on this machine: ``lit-cnn benchmark``."""
