"""What peers change of the memory."""
