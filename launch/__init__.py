"""Starts runs on clusters; nothing in the package needs it."""
