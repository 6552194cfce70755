"""All methods under one certificate.

May import every solver and `heuristics`. Begin with `compare`; what it knows of an objective is an
entry of ``JUDGES`` in `judges`.
"""
