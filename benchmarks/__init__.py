"""Measurements, each run by ``scripts/bench NAME``: in medians and ratios within one run."""
