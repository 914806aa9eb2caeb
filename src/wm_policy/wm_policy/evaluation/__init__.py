"""Does memory help acting? Errors of where a policy would go, beside everything simpler."""
