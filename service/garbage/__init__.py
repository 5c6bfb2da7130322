"""Garbage: what killed processes left in storage and on the disk, and the proof that nobody can need it any more."""

from service.garbage.collector import Collected, Collector

__all__ = ["Collected", "Collector"]
