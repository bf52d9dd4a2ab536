"""One page per pretraining run, and one that compares runs."""
