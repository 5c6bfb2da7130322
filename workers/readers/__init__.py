"""Uploaded datasets, in any format a stranger may send, as one array that can be memory-mapped and its labels."""

from workers.readers.dataset import DatasetContent, read_dataset
from workers.readers.source import ReadLimits

__all__ = ["DatasetContent", "ReadLimits", "read_dataset"]
