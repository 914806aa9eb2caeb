"""What is served, one file for each group of paths."""
