"""The type of every saver."""

from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver

Saver = BaseCheckpointSaver[Any]
