"""A worker freezes past its lease, another takes its thread and ends the run, and the first one thaws: a zombie.

Whatever it writes then is refused. The control takes the fence out and sees it pay twice.
"""

import pytest

from tests.checker import History, complaints, read_facts
from tests.copies import Paused
from tests.graphs import times_run
from tests.races.forked import Arena, Child
from tests.scale import tries

TIMES = tries(1, full=10)
WRITES_LATER = ("pay:began", "pay:paid", "saver.before_writes", "saver.before_put", "saver.after_writes")
"""Where it freezes with something still to write."""
pytestmark = pytest.mark.timeout(240 * TIMES)


def frozen(arena: Arena, places: list[str], failpoints: str = "") -> tuple[History, list[tuple[Paused, str, Child]]]:
    """Decide a thread for each place, and let its worker freeze there."""
    history, threads = History(), arena.paused(len(places), "resuming")
    sent = [history.sent(paused.approval_id, "alice") for paused in threads]
    answers = arena.call("votes", [(paused, "alice", "approve") for paused in threads])
    found = []
    for paused, action, answer, place in zip(threads, sent, answers, places, strict=True):
        action.note(answer["vote"])
        armed = {"nodes": f"{place}=stop"} if ":" in place else {"failpoints": f"{place}=stop"}
        armed["failpoints"] = ";".join(filter(None, [armed.get("failpoints", ""), failpoints]))
        child = arena.fork("carry_out", [answer["run"]], **armed)
        child.wait_until_stopped()  # one after the other: many that start at once are slower than their leases
        found.append((paused, answer["run"], child))
        history.faults[place] += 1
        history.deaths.update([(paused.thread_id, "pay")])
    return history, found


def replaced(arena: Arena, runs: list[str], failpoints: str = "") -> None:
    """Another worker takes the threads over, whose leases are over, and carries the decisions out."""
    arena.call("recover", runs, failpoints=failpoints)
    arena.due_now(runs)
    arena.call("carry_out", runs, failpoints=failpoints)
    ends = arena.rows("SELECT status, error, problem FROM approvals_run WHERE id::text = ANY(%s)", runs)
    assert ends == [("finished", "", "")] * len(runs)


def note_begun(arena: Arena, history: History, found: list[tuple[Paused, str, Child]]) -> None:
    """Expect a node that had begun when its worker froze to run once more: a node's writes are stored beside the next.

    Nothing can refuse its beginning after that; what it does with a key is still done once.
    """
    for paused, run, _ in found:
        [(steps,)] = arena.rows("SELECT steps FROM approvals_run WHERE id = %s", run)
        begun = {step["node"] for step in steps if step["state"] == "running"} - {"pay"}
        history.deaths.update((paused.thread_id, node) for node in begun)


def checkpoints(arena: Arena, threads: list[str]) -> list[tuple[str, str]]:
    found = arena.rows(
        "SELECT thread_id, checkpoint_id FROM checkpoints WHERE thread_id = ANY(%s) ORDER BY 1, 2", threads
    )
    return [(str(thread), str(checkpoint)) for thread, checkpoint in found]


@pytest.mark.parametrize("half", range(tries(1, full=20)))  # each process has connections: twenty at once are too many
def test_a_worker_that_thaws_after_it_was_replaced_writes_nothing_and_pays_nothing(arena: Arena, half: int) -> None:
    history, found = frozen(arena, [*WRITES_LATER] * tries(1, full=2))
    threads = [paused.thread_id for paused, _, _ in found]
    arena.wait_for_leases()
    note_begun(arena, history, found)
    replaced(arena, [run for _, run, _ in found])
    before = checkpoints(arena, threads)
    for _, _, child in found:  # one by one: where many thaw at once, some notice first that their lease has ended
        child.go_on()
        assert not child.died(), "each zombie ends in peace"
    assert checkpoints(arena, threads) == before
    refused = "SELECT thread_id, count(*) FROM approvals_auditentry WHERE action = 'run.fenced' GROUP BY 1"
    entries = dict(arena.rows(refused))
    assert {thread: entries.get(thread, 0) for thread in threads} == dict.fromkeys(threads, 1)
    name = threads[0].rpartition("-")[0]
    facts = read_facts(arena.rows, arena.folder / "ran", f"{name}-%", arena.call("verify"))
    assert complaints(history, facts) == []
    assert {thread: facts.paid[thread, "pay"] for thread in threads} == dict.fromkeys(threads, 1)


def test_control_without_the_fence_a_worker_that_thaws_pays_again(arena: Arena) -> None:
    """It was frozen before its first payment: the other paid meanwhile, under another key that nobody looks at."""
    history, found = frozen(arena, ["saver.before_writes"] * tries(1, full=3), failpoints="fence=off")
    threads = [paused.thread_id for paused, _, _ in found]
    arena.end_leases()
    replaced(arena, [run for _, run, _ in found], failpoints="fence=off")
    before = checkpoints(arena, threads)
    for _, _, child in found:
        child.go_on()
    for _, _, child in found:
        child.died()
    assert checkpoints(arena, threads) != before, "the zombie wrote"
    assert [times_run(arena.folder, thread, "close") for thread in threads] == [2] * len(threads)
    name = threads[0].rpartition("-")[0]
    facts = read_facts(arena.rows, arena.folder / "ran", f"{name}-%", arena.call("verify"))
    assert "children from our runs" in " ".join(complaints(history, facts)), "two lineages"


def test_nothing_is_written_after_a_run_was_cancelled(arena: Arena) -> None:
    [paused] = arena.paused(1)
    [voted] = arena.call("votes", [(paused, "alice", "approve")])
    child = arena.fork("carry_out", [voted["run"]], nodes="pay:paid=stop")
    child.wait_until_stopped()
    before = checkpoints(arena, [paused.thread_id])
    arena.call("cancel", voted["run"])
    child.go_on()
    assert not child.died()
    assert checkpoints(arena, [paused.thread_id]) == before
    assert times_run(arena.folder, paused.thread_id, "close") == 0
    assert arena.rows("SELECT status FROM approvals_run WHERE id = %s", voted["run"]) == [("cancelled",)]
    about = [action for (action,) in arena.rows(
        "SELECT action FROM approvals_auditentry WHERE thread_id = %s ORDER BY seq", paused.thread_id
    )]  # fmt: skip
    assert about[-2:] == ["run.cancelled", "run.fenced"]
