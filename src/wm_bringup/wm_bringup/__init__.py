"""The whole graph: one process or many, with a player, a demo and launch files."""
