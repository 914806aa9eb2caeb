"""Shows the graph to people: frames for viewers, and recordings that viewers open."""
