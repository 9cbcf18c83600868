"""What workers report, and what web processes ask them."""
