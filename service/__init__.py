"""What to make: requests, records, files. Never imports torch or workers."""
