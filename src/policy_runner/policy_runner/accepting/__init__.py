"""From what is asked for to what is to be done, or why it is refused."""
