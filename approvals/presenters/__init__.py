"""Convert rows into the values that templates show: no query, no markup."""
