"""All methods under one certificate."""
