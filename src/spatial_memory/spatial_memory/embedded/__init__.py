"""The memory of one robot: the index over the store."""
