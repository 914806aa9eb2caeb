"""Whole policies: the reactive model, and those of vision and language."""
