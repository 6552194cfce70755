"""Small weighted subsets of the rows that cost what all of them cost (docs/coresets.md).

May import `geometry`, `rows`, `records`, `io` and `kernels`. Begin with `sampling` (`coreset`):
`sensitivity` says how much a row matters and how many rows are enough, `barrier` chooses them
without chance. `streaming` has rows that come in blocks.
"""
