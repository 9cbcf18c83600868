"""What settings are made from: environment variables, system checks, the embedded database."""
