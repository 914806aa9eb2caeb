"""A goal under way, and how it waits."""
