"""The commands of ``lit-cnn``."""
