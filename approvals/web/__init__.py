"""What stands around each request."""
