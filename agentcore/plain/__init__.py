"""Plain data and what reads it: records, errors, JSON, the checkpoint tables. Nothing here imports LangGraph."""
