"""Strategies: where the latents and the labels of row i come from."""
