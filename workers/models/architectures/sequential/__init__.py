"""The architecture `sequential`: steps of allow-listed layers, each a module with checked numbers."""
