"""What the node answers, and work that would hold it up."""
