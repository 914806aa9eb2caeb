"""From a trained policy to the file that a robot runs."""
