"""Workers die at each step of a fork or a replay: the copy is whole in the end, its original is as it was."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.races.forked import Arena
from tests.races.test_killed_workers import STEPS, WRITES
from tests.scale import share, times_reached, tries

KINDS: dict[str, dict[str, Any]] = {
    "fork": {},
    "fork with an edit": {"edits": {"notes": {"op": "append", "value": ["looked at"]}}},
    "fork with input": {"input": {"text": "Another lamp."}},
    "replay": {},
}
NOTES = {
    "fork": ["prepared"],
    "fork with an edit": ["prepared", "looked at"],
    "fork with input": ["prepared", "prepared"],
    "replay": ["prepared"],
}
"""What is in the state in the end, however often a worker died."""
COUNT = tries(4, full=30)
_ROWS_SQL = """
SELECT md5(string_agg(r, '|' ORDER BY r)) FROM (
    SELECT c::text AS r FROM checkpoints c WHERE thread_id = %(id)s
    UNION ALL SELECT b::text FROM checkpoint_blobs b WHERE thread_id = %(id)s
    UNION ALL SELECT w::text FROM checkpoint_writes w WHERE thread_id = %(id)s
) rows
"""
_FIRST_SQL = """
SELECT min(checkpoint_id), max(checkpoint_id) FROM checkpoints WHERE thread_id = %s AND metadata ->> 'step' <> '-1'
"""
pytestmark = pytest.mark.timeout(240)


@dataclass
class Journey:
    """A fork or a replay whose worker dies."""

    arena: Arena
    source: str
    thread_id: str
    run_id: str
    before: str
    killed_at: str = ""

    def killed(self, at: str) -> bool:
        where = at.replace("@", "=kill@") if "@" in at else f"{at}=kill"
        self.killed_at = at
        return self.arena.fork("carry_out", [self.run_id], failpoints=where).died()


def rows_of(arena: Arena, thread_id: str) -> str:
    with arena.database() as database:
        found = database.execute(_ROWS_SQL, {"id": thread_id}).fetchone()
    assert found is not None
    return str(found[0])


def begun(arena: Arena, kind: str) -> Iterator[Journey]:
    """Yield what people asked for and no worker has taken: forks of where threads wait, replays from their start."""
    sources = [paused.thread_id for paused in arena.paused(COUNT)]
    ends = [arena.rows(_FIRST_SQL, source)[0] for source in sources]
    before = [rows_of(arena, source) for source in sources]
    if kind == "replay":
        made = arena.call("replays", [(source, first) for source, (first, _) in zip(sources, ends, strict=True)])
    else:
        made = arena.call(
            "forks", [(source, last) for source, (_, last) in zip(sources, ends, strict=True)], **KINDS[kind]
        )
    for source, (thread_id, run_id), rows in zip(sources, made, before, strict=True):
        yield Journey(arena, source, thread_id, run_id, rows)


def die_everywhere(journeys: Iterator[Journey], kind: str) -> list[Journey]:
    """Kill a worker at each step, and at each write; usually the kinds divide the places.

    The rest goes its way alive.
    """
    number = list(KINDS).index(kind)
    steps = share(STEPS, number + 3, of=len(KINDS))  # so that what goes on with input dies where it enters the graph
    dead = [journey for at in steps if (journey := next(journeys)).killed(at)]
    for at in share(WRITES, number, of=len(KINDS)):
        for time_reached in times_reached():
            journey = next(journeys)
            if not journey.killed(f"{at}@{time_reached}"):
                break
            dead.append(journey)
    return dead


@pytest.mark.parametrize("kind", KINDS)
def test_a_worker_that_dies_anywhere_leaves_a_whole_copy_in_the_end(arena: Arena, kind: str) -> None:
    dead = die_everywhere(begun(arena, kind), kind)
    assert len(dead) >= tries(2, full=9)
    arena.end_leases()
    runs = [journey.run_id for journey in dead]
    arena.call("recover", runs)
    arena.due_now(runs)
    arena.call("carry_out", runs)

    for journey in dead:
        [(status, waiting, notes)] = arena.rows(
            "SELECT r.status, t.next::text, t.state::json -> 'notes' FROM approvals_run r"
            " JOIN approvals_thread t ON t.id = thread_id WHERE r.id = %s",
            journey.run_id,
        )
        assert (status, waiting, notes) == ("paused", '["pay"]', NOTES[kind]), journey.killed_at
        asked = Counter(
            status
            for (status,) in arena.rows("SELECT status FROM approvals_approval WHERE thread_id = %s", journey.thread_id)
        )
        if kind == "replay":
            assert asked == {"superseded": 1, "pending": 1}, journey.killed_at
        else:
            assert asked == {"pending": 1}, journey.killed_at
            assert rows_of(arena, journey.source) == journey.before, journey.killed_at
    print(f"{kind}: {len(dead)} kills at {sorted(journey.killed_at for journey in dead)}")  # noqa: T201
