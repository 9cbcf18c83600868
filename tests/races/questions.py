"""Questions in an arena, as a test sees them: made, read, and answered by processes that do what `answering` says."""

import itertools
import multiprocessing
from pathlib import Path
from typing import Any

from tests.copies import Paused, copy_paused
from tests.races import forked
from tests.races.forked import Arena, Child

_numbers = itertools.count()


def fork(arena: Arena, work: str, *args: Any) -> Child:
    """As `Arena.fork`, for a work of `answering`."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    about = (arena.folder, arena.url, theirs, work, args)
    process = forked._forks.Process(target=_begin, args=about, daemon=True)
    process.start()
    theirs.close()
    arena.children.append(Child(process, ours))
    return arena.children[-1]


def call(arena: Arena, work: str, *args: Any) -> Any:
    return fork(arena, work, *args).result(200)


def _begin(folder: Path, url: str, pipe: Any, work: str, args: tuple[Any, ...]) -> None:
    from tests.races import answering, works

    setattr(works, work, getattr(answering, work))
    forked._begin(folder, url, pipe, work, args, {}, "", "")


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
