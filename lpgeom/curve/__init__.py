"""The cost over the rank."""
