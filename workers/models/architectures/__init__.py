"""Architectures that a bundle may name: each turns checked numbers into networks, never code into anything."""
