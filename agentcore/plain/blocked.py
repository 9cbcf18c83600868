"""Types that a checkpoint names and that were not built: their names, collected and reported to people."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

logger = logging.getLogger(__name__)

ClassName = tuple[str, str]
"""Module and class, as checkpoints name them."""

_LONGEST_NAME = 200
_MOST_NOTED = 50
_MOST_NAMED = 5
_noted: ContextVar[set[str] | None] = ContextVar("noted", default=None)


@contextmanager
def noting_blocked() -> Iterator[set[str]]:
    """Collect the names of the types that a strict serializer refuses to build inside the block."""
    noted: set[str] = set()
    token = _noted.set(noted)
    try:
        yield noted
    finally:
        _noted.reset(token)


def note_blocked(named: str) -> None:
    """Report a name to whoever collects names, else log it once."""
    noted = _noted.get()
    if noted is None:
        _warn(named)
    elif len(noted) < _MOST_NOTED:
        noted.add(named)


@lru_cache(maxsize=1_000)
def _warn(named: str) -> None:
    logger.warning("a checkpoint holds %s, which is not allowed here: its bare data is read instead", named)


def blocked_sentence(names: Sequence[str]) -> str:
    """Return what it means for people that these types were not built, and how to allow them."""
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return (
        f"The state holds {', '.join(names[:_MOST_NAMED])}{more}, not built here: the graph's nodes would get bare data"
        " instead, and an edit would lose the type. Declare it in the graph's state, or list it under"
        " allowed_msgpack_modules in langgraph.json; if it is there, its class no longer takes what was stored."
    )


def class_name(module: Any, name: Any) -> str:
    """Return the class name as a checkpoint has it, made safe: a crafted one may hold anything, and it is shown and
    stored.
    """
    full = f"{module}.{name}"[:_LONGEST_NAME]
    return full if all(part.isidentifier() for part in full.split(".")) else ascii(full)
