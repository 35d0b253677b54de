"""The losses, one file for each family: formulas, and the public functions and classes.

A family says what is computed for an item. Weights, reductions, dtypes and backends are not its
matter.
"""
