"""Part of a memory as one file, from one robot's memory into another's."""
