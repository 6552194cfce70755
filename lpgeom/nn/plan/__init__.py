"""A rank and factors for every weight of a model, as the options of `compress` ask for them.

Imports `model`, `modules`, `factors` and `report` of `lpgeom.nn`. Begin with `plan.py`; how much a
row counts is said in `row_weights.py`, where a new kind is an entry of `ROW_WEIGHTS`.
"""
