"""Statements about networks, decided by checks and by controlled experiments."""
