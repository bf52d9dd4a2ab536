"""Features of many films, in a file that survives any kill."""
