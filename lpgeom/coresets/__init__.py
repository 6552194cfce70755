"""Small weighted subsets of the rows that cost what all of them cost (docs/coresets.md)."""
