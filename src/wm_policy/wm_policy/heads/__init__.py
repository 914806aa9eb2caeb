"""Action heads: a condition in, a chunk of actions out; all of them by one base."""
