"""What follows: the next latents, conditioned on memories of the places ahead."""
