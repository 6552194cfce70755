"""A rank and factors for every weight."""
