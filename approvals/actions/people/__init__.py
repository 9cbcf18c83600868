"""Changes of people, groups and policies, and signing in."""
