"""Executes a policy's chunks of actions, safely while inference is late."""
