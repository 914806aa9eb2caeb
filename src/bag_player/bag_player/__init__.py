"""Plays a recording into the graph, and records what feeds it; counts every message."""
