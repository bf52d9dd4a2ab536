"""Evaluation metrics: pure functions of arrays or strings."""
