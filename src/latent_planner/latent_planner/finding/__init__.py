"""From what a goal asks for to where that is."""
