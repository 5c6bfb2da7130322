"""Datasets: reference rows that users uploaded."""
