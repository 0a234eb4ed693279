"""A strategy that is read from JSON: indicators by name, conditions on them, prices of orders.

`reading` turns checked JSON into the tree of `tree`, `writing` the tree back into canonical
JSON, `evaluation` computes what the tree says on bars. Nothing that was read is ever executed:
every name is looked up in a fixed table.
"""
