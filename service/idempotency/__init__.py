"""Idempotency keys: the same creating request twice makes one thing."""
