"""Pictures, latents and words as tokens."""
