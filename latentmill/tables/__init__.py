"""A user's own DataFrame -> the columns of a table model, and what it is trained on."""
