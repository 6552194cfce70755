"""Löwner, John and minimum-volume ellipsoids."""
