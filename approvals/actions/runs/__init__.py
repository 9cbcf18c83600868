"""Runs: starting, carrying out, stopping and recovering them."""
