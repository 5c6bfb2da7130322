"""The commands of `latentmill`, a noun a file."""
