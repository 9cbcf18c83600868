"""Three graphs to try the console with. They need no API key, and each ends in a file."""
