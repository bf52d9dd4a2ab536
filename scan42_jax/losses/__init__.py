"""Training objectives: pure functions of global arrays, no collectives."""
