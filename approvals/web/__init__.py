"""Middleware and URL converters."""
