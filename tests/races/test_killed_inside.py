"""Workers die at gates inside subgraphs, at each step and write: what was decided is done, no other gate passed."""

from typing import Any

import pytest

from tests.copies import Paused
from tests.graphs import times_run
from tests.races.forked import Arena
from tests.scale import share

STEPS = ("run.claimed", "run.entered", "run.stopped", "run.settled")
AT_WRITES = ("saver.before_put", "saver.after_put", "saver.before_writes", "saver.after_writes")
WRITES = [f"{at}@{number}" for number in (1, 2) for at in AT_WRITES]
IN_NODE = ("pay:began", "pay:paid")
PLACES = (*STEPS, *WRITES, *IN_NODE)
GRAPHS = ("inside", "inside_own")
"""Usually each dies at another part of the places."""
pytestmark = pytest.mark.timeout(240)


def where(place: str) -> dict[str, str]:
    if ":" in place:
        return {"nodes": f"{place}=kill"}
    return {"failpoints": place.replace("@", "=kill@") if "@" in place else f"{place}=kill"}


def paused_inside(arena: Arena, graph: str, count: int) -> list[Paused]:
    threads = [f"{graph}-gate-{number}" for number in range(count)]
    arena.call("carry_out", arena.call("start", graph, threads))
    asked = "SELECT thread_id, id, digest FROM approvals_approval WHERE thread_id = ANY(%s) AND status = 'pending'"
    return [Paused(*row) for row in arena.rows(asked, threads)]


@pytest.mark.parametrize("graph", GRAPHS)
def test_a_worker_that_dies_behind_a_gate_in_a_subgraph_does_what_was_decided_and_no_more(
    arena: Arena, graph: str
) -> None:
    places = share(PLACES, GRAPHS.index(graph), of=4)
    waiting = paused_inside(arena, graph, len(places))
    assert len(waiting) == len(places)
    votes: list[dict[str, Any]] = arena.call("votes", [(each, "alice", "approve") for each in waiting])
    runs = [answer["run"] for answer in votes]
    killed = [arena.fork("carry_out", [run], **where(place)).died() for run, place in zip(runs, places, strict=True)]
    assert sum(killed) >= len(places) - len(set(WRITES).intersection(places)) // 2
    arena.end_leases()
    arena.call("recover", runs)
    statuses = dict(arena.rows("SELECT id::text, status FROM approvals_run WHERE id::text = ANY(%s)", runs))
    for run, place in zip(runs, places, strict=True):
        if place in IN_NODE:
            assert statuses[run] == "held", "a node may have been running: a person is asked"
    arena.call("retry", [run for run, status in statuses.items() if status == "held"])
    arena.due_now(runs)
    arena.call("carry_out", runs)
    assert stood(arena, runs) == {("paused", '["pay"] approved, ["close"] pending')}
    for each, place in zip(waiting, places, strict=True):
        paid = arena.rows("SELECT node FROM payments WHERE thread_id = %s", each.thread_id)
        assert paid == [("pay",)], (place, paid)
        assert times_run(arena.folder, each.thread_id, "pay") <= 2
        assert times_run(arena.folder, each.thread_id, "close") == 0


@pytest.mark.parametrize("graph", GRAPHS)
def test_a_worker_that_dies_on_the_way_to_a_gate_in_a_subgraph_is_replaced_and_asks_there(
    arena: Arena, graph: str
) -> None:
    places = share([*STEPS, *WRITES], GRAPHS.index(graph), of=3)
    threads = [f"{graph}-way-{number}" for number in range(len(places))]
    runs = arena.call("start", graph, threads)
    killed = [arena.fork("carry_out", [run], **where(place)).died() for run, place in zip(runs, places, strict=True)]
    assert sum(killed) >= len(places) - 1  # a graph may write less often than a place asks for
    arena.end_leases()
    arena.call("recover", runs)
    arena.due_now(runs)
    arena.call("carry_out", runs)
    assert stood(arena, runs) == {("paused", '["pay"] pending')}
    assert [times_run(arena.folder, thread, "pay") for thread in threads] == [0] * len(places)


def stood(arena: Arena, runs: list[str]) -> set[tuple[str, str]]:
    """Return how the runs ended, and what was asked on their threads."""
    asked = "string_agg(a.next::text || ' ' || a.status, ', ' ORDER BY a.created_at)"
    of = "FROM approvals_run r JOIN approvals_approval a USING (thread_id) WHERE r.id::text = ANY(%s) GROUP BY r.id"
    return {(status, told) for status, told in arena.rows(f"SELECT r.status, {asked} {of}", runs)}
