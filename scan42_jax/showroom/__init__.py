"""A film in a browser: what encoder and heads make of it."""
