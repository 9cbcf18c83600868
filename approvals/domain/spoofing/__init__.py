"""Letters, hosts, figures and characters that may not be what they seem."""
