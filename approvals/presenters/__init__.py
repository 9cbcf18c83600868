"""From models to what templates show: finished plain values, no query, no markup."""
