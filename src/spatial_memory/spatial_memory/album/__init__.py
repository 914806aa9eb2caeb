"""Pictures of what is remembered: which frame belongs to which record, and who may see it."""
