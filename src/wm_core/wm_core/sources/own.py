"""What the graph itself says of types that it also takes."""

OWN_TOPICS = (
    "/latent", "/latent_next", "/latent/pose", "/latent_next/pose", "/visual_history", "/imagination/image",
    "/imagination/image/compressed", "/planned_actions", "/policy_runner/proposed",
    "/camera/depth/image_raw", "/proprioception",
)  # fmt: skip
"""How the names of such topics end, in whatever namespace, and of what the graph takes for something else."""
