"""What a model has, and what is put in its place."""
