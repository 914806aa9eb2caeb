"""Converting drives from bags and the simulator, and reading them."""
