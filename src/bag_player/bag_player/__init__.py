"""Plays a recording into the graph and counts every message that was sent."""
