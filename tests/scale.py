"""How often the long tests try. `FULL=1 make test` tries as often as the documentation says; usually a part of it.

`make test-quick` tries a tenth of what is usual, and of each test with many cases a few (tests/conftest.py).
"""

import itertools
import os
from collections.abc import Iterable, Sequence
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")

IS_FULL = os.environ.get("FULL") == "1"
IS_QUICK = os.environ.get("QUICK") == "1"
"""Set by `pytest --quick`."""


def tries(usual: int, *, full: int) -> int:
    return full if IS_FULL else -(-usual // 10) if IS_QUICK else usual


def some(cases: dict[str, T], *usual: str) -> dict[str, T]:
    """Return the named cases. FULL=1: all of them."""
    return cases if IS_FULL else {name: cases[name] for name in usual}


def share(places: Sequence[T], number: int, *, of: int) -> list[T]:
    """Return every `of`-th of the places, from `number` on: the cases of a test divide them. FULL=1: all of them."""
    return list(places) if IS_FULL else list(places[number % of :: of])


def times_reached() -> Iterable[int]:
    """Return at which times that a place is reached it is tried: the first two. FULL=1: until it is not reached."""
    return itertools.count(1) if IS_FULL else (1, 2)


def crossed(cases: Iterable[S], places: Sequence[T]) -> list[tuple[S, T]]:
    """Return each case with one of the places, which take turns. FULL=1: each case with all of them."""
    turns = ((case, [places[number % len(places)]]) for number, case in enumerate(cases))
    return [(case, place) for case, usual in turns for place in (places if IS_FULL else usual)]
