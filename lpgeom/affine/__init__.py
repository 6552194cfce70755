"""Affine subspaces: c + span V."""
