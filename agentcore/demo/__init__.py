"""Nine graphs to try the console with: three have gates, six ask. No API key is needed; what they do ends in files."""
