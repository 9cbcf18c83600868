"""A graph whose module raises: it is listed as broken, and stops no other."""

raise LookupError("no model is configured")
