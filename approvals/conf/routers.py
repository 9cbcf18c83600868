"""Keeps Django's tables out of a separate checkpoint database: LangGraph's own tables live there."""

from typing import Any


class CheckpointRouter:
    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return False if db == "checkpoints" else None
