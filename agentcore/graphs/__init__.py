"""Graphs: loading them, reading their threads, running, resuming, editing and forking them."""
