"""The demo: run the whole graph, watch it, judge it."""
