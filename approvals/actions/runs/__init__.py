"""Runs: starting, carrying out, controlling and recovering them."""
