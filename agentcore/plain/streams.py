"""What can be asked for of a run while it is at work, and the parts of such a stream.

The names are those of LangGraph's server.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

ALWAYS = ("tasks", "values")
"""LangGraph tells these in every run, as it costs nothing: who subscribes in the middle has them at once."""
MODES = (*ALWAYS, "updates", "messages", "messages-tuple", "custom", "checkpoints", "debug")
VALUES = "values"
INTERRUPT = "__interrupt__"
"""The name under which a part has the questions that a run stopped at."""


@dataclass(frozen=True)
class Wanted:
    """What the subscriptions of a thread ask for, all together."""

    modes: frozenset[str] = frozenset()
    has_subgraphs: bool = False

    @classmethod
    def of(cls, each: Iterable[tuple[Collection[str], bool]]) -> "Wanted":
        """Return what several ask for: each with its modes, and whether it also wants subgraphs."""
        told = list(each)
        return cls(frozenset(mode for modes, _ in told for mode in modes), any(inner for _, inner in told))


@dataclass(frozen=True)
class StreamPiece:
    """One part of a stream, as subscribers get it. `mode` is what they asked for, `name` what it is called."""

    mode: str
    name: str
    data: Any
    is_inner: bool = False
    """It comes from a subgraph."""


def named(name: str, namespace: tuple[str, ...]) -> str:
    return "|".join([name, *namespace])
