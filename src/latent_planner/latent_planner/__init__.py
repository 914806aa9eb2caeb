"""From a goal and the memories of a place to commands: route, field, model-predictive control."""
