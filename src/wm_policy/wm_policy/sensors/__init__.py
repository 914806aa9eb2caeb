"""What each sensor gave, as tokens."""
