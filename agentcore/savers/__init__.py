"""Checkpoint savers and what they need: tables, triggers, the fence, the cache, serializers."""
