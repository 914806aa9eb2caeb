"""What a memory is: which states are kept, what followed them, and what is near."""
