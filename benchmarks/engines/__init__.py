"""Decode speed of bundles of either engine, beside that of the modules that they were made of."""
