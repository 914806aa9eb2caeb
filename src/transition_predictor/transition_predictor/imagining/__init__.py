"""Imagination for others: what is asked, from where, what lies beyond the window, and pictures of it."""
