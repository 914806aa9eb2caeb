"""Converting episodes from bags and the simulator, and reading them."""
