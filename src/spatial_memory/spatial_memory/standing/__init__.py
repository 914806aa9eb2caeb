"""How the memory is doing."""
