"""A trained run in forms that others can use, with proof that they compute the same."""
