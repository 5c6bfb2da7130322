"""Previews: a few rows at once, from a strategy, from a job or from its stored shards."""
