"""LangGraph's side of Countersign: graphs, checkpoints, pauses and edits. Usable from a notebook.

Nothing here depends on Django, HTTP or users. Authors of agents use `effect_key` and `once`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentcore.effects import effect_key, once

__all__ = ["effect_key", "once"]


def __getattr__(name: str) -> Any:
    """Import `effect_key` and `once` on demand: a web process imports this package without LangGraph."""
    if name in __all__:
        from agentcore import effects

        return getattr(effects, name)
    raise AttributeError(f"module 'agentcore' has no attribute {name!r}")
