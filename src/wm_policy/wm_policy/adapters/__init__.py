"""Policies that run in another process, with dependencies that cannot share this environment."""
