"""Threads: creating, indexing, forking, replaying, removing and diagnosing them."""
