"""Limits of transactions that hold locks."""

MOST_IDLE_SECONDS = 5
"""PostgreSQL ends a transaction whose process is silent for longer: a frozen process holds its locks no longer."""
IDLE_LIMIT_SQL = f"set_config('idle_in_transaction_session_timeout', '{MOST_IDLE_SECONDS}s', true)"
"""Sets the limit until the transaction ends."""
