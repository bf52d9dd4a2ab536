"""Report generation: tokens, training, decoding, scoring of texts."""
