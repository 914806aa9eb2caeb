"""Pictures of the camera and of requests, decoded."""
