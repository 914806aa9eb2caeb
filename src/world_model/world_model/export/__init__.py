"""From trained modules to files that a robot loads."""
