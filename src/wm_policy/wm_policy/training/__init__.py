"""From converted sets to exported policies, by the same loop as world models."""
