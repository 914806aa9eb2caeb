"""Places and memories by what they look like."""
