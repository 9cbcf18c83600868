"""The LangGraph side of Countersign: graphs, checkpoints, pauses and edits, usable from a notebook.

Nothing here knows of Django, HTTP or users. `effect_key` and `once` are for authors of agents.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentcore.effects import effect_key, once

__all__ = ["effect_key", "once"]


def __getattr__(name: str) -> Any:
    """Import them when they are asked for: a web process imports parts of this package, and needs no LangGraph."""
    if name in __all__:
        from agentcore import effects

        return getattr(effects, name)
    raise AttributeError(f"module 'agentcore' has no attribute {name!r}")
