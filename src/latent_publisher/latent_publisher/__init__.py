"""One latent per camera frame, with the pose and action that belong to it."""
