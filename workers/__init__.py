"""How to make it: the files at the top know the queue, the folders below are pure."""
