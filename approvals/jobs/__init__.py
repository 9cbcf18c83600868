"""The queue, and the worker that takes jobs from it."""
