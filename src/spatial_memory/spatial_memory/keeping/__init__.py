"""What comes in and is remembered."""
