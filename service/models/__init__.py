"""Models: registered VAEs."""
