"""What tests need inside the code."""
