"""What open pages hear of, and the Redis behind it."""
