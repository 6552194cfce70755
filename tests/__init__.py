"""Tests, in the rooms of the package; what several of them use lies here."""
