"""Pictures for who looks: what was seen, what was foreseen for now, and what is foreseen next."""
