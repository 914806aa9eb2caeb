"""Asking the policy ahead of time, on a thread of its own."""
