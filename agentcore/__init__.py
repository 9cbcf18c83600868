"""The LangGraph side of Countersign: graphs, checkpoints, pauses and edits, usable from a notebook.

Nothing here knows of Django, HTTP or users. What authors of agents and notebooks need is imported from here:
`from agentcore import open_checkpointer`. It is loaded when it is asked for, so that a web process can import
`agentcore.plain` and load no LangGraph.
"""

from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentcore.effects import effect_key, once
    from agentcore.graphs.registry import load_graphs
    from agentcore.graphs.state_edits import preview
    from agentcore.savers.cache import CachedPostgresSaver
    from agentcore.savers.opening import open_checkpointer

__all__ = ["CachedPostgresSaver", "effect_key", "load_graphs", "once", "open_checkpointer", "preview"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(_module_of(name), name)
    raise AttributeError(f"module 'agentcore' has no attribute {name!r}")


def _module_of(name: str) -> ModuleType:
    """Import statements and no names in text: so the import linter sees that this leads to LangGraph."""
    match name:
        case "effect_key" | "once":
            from agentcore import effects

            return effects
        case "preview":
            from agentcore.graphs import state_edits

            return state_edits
        case "load_graphs":
            from agentcore.graphs import registry

            return registry
        case "CachedPostgresSaver":
            from agentcore.savers import cache

            return cache
    from agentcore.savers import opening

    return opening
