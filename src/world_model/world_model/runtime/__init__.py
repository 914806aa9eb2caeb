"""All that a node imports: artifacts, predictor, motion model, features."""
