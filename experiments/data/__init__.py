"""The data set of the default model: openly licensed drawings, rendered, composed, described and accounted for.

`python -m experiments.data --out data` makes all of it; see `__main__.py` for the files it writes.
"""
