"""From map coordinates to H3 cells."""
