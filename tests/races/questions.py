"""Questions in an arena, as a test sees them: made, read, and answered as `answering` says."""

import itertools
from typing import Any

from tests.copies import Paused, copy_paused
from tests.races.forked import Arena

_numbers = itertools.count()


def call(arena: Arena, work: str, *args: Any) -> Any:
    return arena.call(f"answering.{work}", *args, seconds=200)


def copied(arena: Arena, template: str, count: int) -> list[str]:
    """Return threads of their own, each of which waits as the template does."""
    name = f"{template}-{next(_numbers)}q"
    with arena.database() as database:
        copy_paused(database, template, count, name=name)
    arena.call("tell", name)
    return [f"{name}-{number}" for number in range(1, count + 1)]


def asked(arena: Arena, thread_id: str) -> dict[str, Paused]:
    """Return the questions that are open on a thread, by their words."""
    rows = arena.rows(
        "SELECT title, thread_id, id, digest FROM approvals_approval WHERE thread_id = %s AND status = 'pending'",
        thread_id,
    )
    found = {str(title).removeprefix("Question: “").removesuffix("”"): Paused(*row) for title, *row in rows}
    assert len(found) == len(rows), f"the same question is open twice: {rows}"
    return found
