"""This revision against another, each in an environment of its own: ``scripts/bench NAME --against REV``."""
