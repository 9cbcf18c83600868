"""The client never hears what became of its vote: the server died, or the answer was lost. It sends the same key again.

Whatever happened, it gets the one answer there is; nothing is lost and nothing counts twice.
"""

import contextlib
import http.client
import json
import random
import select
import socket
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests import servers
from tests.checker import Action, History, complaints, read_facts
from tests.console import free_port, wait_for
from tests.copies import Paused
from tests.outages import Proxy
from tests.races.forked import Arena, Child
from tests.scale import share, tries

SEED = 20261123
TIMES = tries(1, full=10)
STEPS = ("thread.locked", "decide.locked", "decide.voted", "decide.decided", "audit.written", "decide.committed")
CARRIED_OUT = tries(1, full=20)
"""Of many decisions that have nothing to do with a worker: how many one carries out."""
SILENT = "SELECT 1 FROM pg_stat_activity WHERE state = 'idle in transaction'"
pytestmark = pytest.mark.timeout(240 * TIMES)


@contextlib.contextmanager
def web(arena: Arena, failpoints: str = "", most_idle_seconds: int | None = None) -> Iterator[tuple[Child, int]]:
    """Serve the console without a worker."""
    port = free_port()
    child = arena.fork("serve", port, "--no-worker", failpoints=failpoints, most_idle_seconds=most_idle_seconds)
    wait_for(lambda: is_up(child, port), what="the web process")
    try:
        yield child, port
    finally:
        child.kill()


def is_up(child: Child, port: int) -> bool:
    assert child.is_alive, child.result()
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


@pytest.fixture(scope="module")
def token(arena: Arena) -> str:
    return str(arena.call("token", "alice"))


@pytest.fixture(scope="module")
def other(arena: Arena) -> Iterator[int]:
    """The port of a web process that nothing happens to."""
    with web(arena) as (_, port):
        yield port


def send(port: int, token: str, paused: Paused, key: str) -> httpx.Response:
    ballot = {"verdict": "approve", "seen_digest": paused.digest, "idempotency_key": key}
    path = f"http://127.0.0.1:{port}/api/approvals/{paused.approval_id}/votes"
    return httpx.post(path, json=ballot, headers={"Authorization": f"Bearer {token}"}, timeout=30)


def sent_again(history: History, port: int, token: str, paused: Paused, action: Action) -> int:
    """Send the same key again; return the status."""
    assert action.key
    answer = send(port, token, paused, action.key)
    history.sent(paused.approval_id, "alice", action.key).note(answer.json()["vote"]["id"])
    return answer.status_code


def check(arena: Arena, history: History, threads: list[Paused], *, first: int | None = None) -> None:
    """Have a worker carry out the decisions, or the `first` of them, and hold the history against the facts."""
    name = threads[0].thread_id.rpartition("-")[0]
    runs = arena.rows("SELECT id::text FROM approvals_run WHERE thread_id LIKE %s ORDER BY created_at", f"{name}-%")
    arena.call("carry_out", [run for (run,) in runs[:first]])
    facts = read_facts(arena.rows, arena.folder / "ran", f"{name}-%", arena.call("verify"))
    assert len(facts.decisions) == len(threads), "lost"
    assert set(facts.runs.values()) <= {"finished", "queued"}
    facts.runs = dict.fromkeys(facts.runs, "finished")
    assert complaints(history, facts) == []
    assert facts.ran == dict.fromkeys(facts.ran, 1)
    assert len(facts.ran) == 2 * len(runs[:first])


def test_a_web_process_that_dies_at_any_step_of_a_decision_loses_and_doubles_nothing(
    arena: Arena, token: str, other: int
) -> None:
    history, steps = History(), share(STEPS, 2, of=3) * tries(1, full=20)
    threads, dice = arena.paused(len(steps)), random.Random(SEED)
    for step, paused in zip(steps, threads, strict=True):
        action = history.sent(paused.approval_id, "alice", str(uuid.UUID(int=dice.getrandbits(128))))
        with web(arena, f"{step}=kill") as (child, port):
            with pytest.raises(httpx.TransportError):
                send(port, token, paused, str(action.key))
            assert child.died()
        history.faults[step] += 1
        again = [sent_again(history, other, token, paused, action) for _ in range(2)]
        assert again == [200 if step == "decide.committed" else 201, 200]
    check(arena, history, threads)


def test_a_web_process_that_hangs_at_any_step_of_a_decision_holds_up_no_other_decision(
    arena: Arena, token: str, other: int
) -> None:
    """Also with the head of the log locked: the database ends such a transaction while others wait for it.

    Whoever asked the one that hung is told, once it goes on, that the database did not answer; then it works again.
    """
    history, steps = History(), share(STEPS[:-1], 0, of=4)
    threads = arena.paused(2 * len(steps))
    for step, hung, paused in zip(steps, threads[::2], threads[1::2], strict=True):
        stuck, action = (history.sent(each.approval_id, "alice", str(uuid.uuid4())) for each in (hung, paused))
        with web(arena, f"{step}=stop", tries(1, full=5)) as (child, port), ThreadPoolExecutor(1) as pool:
            asked = pool.submit(send, port, token, hung, str(stuck.key))
            child.wait_until_stopped()
            history.faults[step] += 1
            assert sent_again(history, other, token, paused, action) == 201
            wait_for(lambda: not arena.rows(SILENT), what="the database to end the transaction")
            assert child.is_stopped
            child.go_on()
            answer = asked.result()
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
            assert sent_again(history, port, token, hung, stuck) == 201
    check(arena, history, threads)


class Deaf(Proxy):
    """Passes requests on, and the answers to nobody."""

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        while server not in select.select([client, server], [], [])[0]:
            server.sendall(client.recv(65536))


def test_a_client_whose_answer_is_lost_on_the_way_sends_again_and_hears_it(
    arena: Arena, token: str, other: int
) -> None:
    history, threads = History(), arena.paused(tries(5, full=1_500))
    proxy = Deaf(("127.0.0.1", other))

    def lose(paused: Paused) -> None:
        action = history.sent(paused.approval_id, "alice", str(uuid.uuid5(uuid.NAMESPACE_URL, paused.thread_id)))
        with pytest.raises(httpx.TransportError):
            send(proxy.port, token, paused, str(action.key))
        history.faults["the answer was lost"] += 1
        assert sent_again(history, other, token, paused, action) == 200

    with ThreadPoolExecutor(4) as clients:
        list(clients.map(lose, threads))
    proxy.refuse()
    check(arena, history, threads, first=CARRIED_OUT)


def test_a_client_that_goes_away_while_its_vote_is_counted_sends_again_and_hears_it(
    arena: Arena, token: str, other: int
) -> None:
    """At any moment: before the vote is begun, in the middle, or when it is over."""
    history, threads, dice = History(), arena.paused(tries(16, full=1_500)), random.Random(SEED)
    found: list[int] = []

    def leave(each: tuple[Paused, float]) -> None:
        paused, after_seconds = each
        action = history.sent(paused.approval_id, "alice", str(uuid.uuid5(uuid.NAMESPACE_URL, paused.thread_id)))
        ballot = {"verdict": "approve", "seen_digest": paused.digest, "idempotency_key": action.key}
        gone = http.client.HTTPConnection("127.0.0.1", other)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        gone.request("POST", f"/api/approvals/{paused.approval_id}/votes", json.dumps(ballot), headers)
        time.sleep(after_seconds)
        gone.close()
        history.faults["the client left"] += 1
        found.append(sent_again(history, other, token, paused, action))

    with ThreadPoolExecutor(4) as clients:
        list(clients.map(leave, [(paused, dice.uniform(0, 0.08)) for paused in threads]))
    assert set(found) == {200, 201}, "some left before it counted, some after"
    check(arena, history, threads, first=CARRIED_OUT)


def test_a_vote_whose_commit_was_cut_off_is_found_by_its_key(arena: Arena, token: str, other: int) -> None:
    """PostgreSQL committed, and the web process never heard of it."""
    history, threads = History(), arena.paused(tries(3, full=400))
    proxy = Proxy(str(servers.socket()))
    proxy.cut = "after"
    with web_through(arena, proxy) as cut_off:
        for paused in threads:
            action = history.sent(paused.approval_id, "alice", str(uuid.uuid5(uuid.NAMESPACE_URL, paused.thread_id)))
            assert send(cut_off, token, paused, str(action.key)).status_code == 503
            history.faults["the COMMIT's answer was lost"] += 1
            assert sent_again(history, other, token, paused, action) == 200
    check(arena, history, threads, first=CARRIED_OUT)


@contextlib.contextmanager
def web_through(arena: Arena, proxy: Proxy) -> Iterator[int]:
    """Serve with the database behind the proxy."""
    port = free_port()
    child = arena.fork("serve_through", proxy.port, port)
    wait_for(lambda: is_up(child, port), what="the web process")
    try:
        yield port
    finally:
        child.kill()
