"""How `export_vae` reads a user's modules: trace, translate each node to an allow-listed step, write, compare."""
