"""Weights of other projects and formats, in and out."""
