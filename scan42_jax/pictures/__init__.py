"""Pictures of what an encoder sees in a film."""
