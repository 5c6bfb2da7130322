"""Fits: densities fitted to the posteriors of a dataset's rows, and those posteriors (encodings)."""
