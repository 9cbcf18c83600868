"""Checkpoint savers and what stands behind them: tables, triggers, the fence, the cache, serialisers."""
