"""Files by key, each written at once or not at all."""
