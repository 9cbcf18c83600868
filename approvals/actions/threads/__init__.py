"""Threads: indexing, forking, replaying, cleaning and explaining them."""
