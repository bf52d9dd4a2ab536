"""A folder to publish: weights, what they were made of, and a model card."""
