"""Settings' helpers: the environment, the embedded database, system checks."""
