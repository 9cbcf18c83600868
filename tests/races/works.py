"""What a forked process does: one worker, one web server, or one action of ours. Its result goes back to the test."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection, connections

from agentcore.graphs.snapshots import config_for, with_saver
from agentcore.savers import opening
from approvals import audit, checkpoints
from approvals.actions.audit_log import signing
from approvals.actions.people.sign_in import make_token
from approvals.actions.runs import controls, execution, recovery
from approvals.actions.runs.starts import start_run
from approvals.actions.threads import cleaning, whole_values
from approvals.actions.threads import forks as fork_thread
from approvals.actions.threads import replays as replay_thread
from approvals.actions.threads.creation import create_thread
from approvals.actions.votes import ballots, claims
from approvals.actions.votes.votes import cast
from approvals.actions.workers import replies
from approvals.actions.workers.cards import publish_graphs
from approvals.database import in_database
from approvals.errors import Refusal
from approvals.jobs import runtime, tasks, worker
from approvals.models import Approval, Graph, Run, Thread
from tests import copies, voting
from tests.copies import Paused
from tests.races import paying

INPUT = {"text": "The lamp arrived broken."}


def set_up() -> dict[str, str]:
    """Publish the graphs, and pause a thread of two of them; return its id by graph."""
    publish_graphs()
    with connection.cursor() as cursor:
        cursor.execute(paying.TABLE)
    made = {graph: f"{graph}-0" for graph in ("asking", "resuming")}
    started = [_start(graph, thread_id) for graph, thread_id in made.items()]
    carry_out(started)
    return made


def _start(graph: str, thread_id: str, input: dict[str, str] = INPUT) -> str:
    olga = User.objects.get(username="olga")
    create_thread(thread_id=thread_id, by=olga)
    return str(start_run(thread_id=thread_id, graph_id=graph, input=input, by=olga).pk)


def publish_again(unread: int) -> None:
    """Publish the graphs while one of them has changed, and threads wait for a graph that takes them."""
    Graph.objects.filter(pk="asking").update(card={"of": "other code"})
    Thread.objects.bulk_create(Thread(pk=f"unread-{uuid4()}", checkpoint_id="1") for _ in range(unread))
    publish_graphs()


def tell(name: str, rule: dict[str, Any] | None = None) -> None:
    copies.tell(name, rule)


def start(graph: str, thread_ids: Sequence[str], *, text: str = INPUT["text"]) -> list[str]:
    """Start threads from their input; return their runs. No worker has them yet."""
    return [_start(graph, thread_id, {"text": text}) for thread_id in thread_ids]


def ballot(paused: Paused, verdict: str = "approve", **more: Any) -> ballots.Ballot:
    return ballots.Ballot(verdict, paused.digest, **{"edits": {}, "comment": "because", **more})


def vote(paused: Paused, name: str, verdict: str = "approve", **more: Any) -> dict[str, Any]:
    """Vote; return what came of it, or the refusal's code."""
    by = User.objects.get(username=name)
    try:
        voted = cast(approval_id=paused.approval_id, ballot=ballot(paused, verdict, **more), by=by)
    except Refusal as refusal:
        return {"refused": refusal.code}
    return {"vote": str(voted.vote.pk), "run": str(voted.run.pk) if voted.run else None, "again": voted.is_replay}


def votes(each: Sequence[tuple[Paused, str, str]], **more: Any) -> list[dict[str, Any]]:
    return [vote(paused, name, verdict, **more) for paused, name, verdict in each]


def tried_votes(each: Sequence[tuple[Paused, str, str]], **more: Any) -> list[dict[str, Any]]:
    """As `votes`, with an edit or a skip, which a worker beside us tries on the real graph first."""
    with _a_worker_beside_us():
        return votes(each, **more)


def forks(places: Sequence[tuple[str, str]], **more: Any) -> list[tuple[str, str]]:
    """Fork threads at checkpoints; return the new threads and their runs. No worker has carried them out."""
    fork_thread.WAIT_SECONDS = 0
    by = User.objects.get(username="olga")
    with _a_worker_beside_us():
        made = [
            fork_thread.fork_thread(thread_id=thread_id, checkpoint_id=checkpoint_id, by=by, **more)
            for thread_id, checkpoint_id in places
        ]
    return [(thread.pk, str(Run.objects.get(thread=thread).pk)) for thread in made]


def replays(places: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Have threads go back to checkpoints; return them and their runs. No worker has carried them out."""
    by = User.objects.get(username="root")
    made = [
        replay_thread.replay_thread(thread_id=thread_id, checkpoint_id=checkpoint_id, typed_id=thread_id, by=by)
        for thread_id, checkpoint_id in places
    ]
    return [(run.thread_id, str(run.pk)) for run in made]


@contextmanager
def _a_worker_beside_us() -> Iterator[None]:
    """Have what is asked of a worker answered; no run is carried out."""
    is_over = threading.Event()
    with ThreadPoolExecutor(1) as beside:
        answering = beside.submit(asyncio.run, _answer_inquiries(is_over))
        try:
            yield
        finally:
            is_over.set()
            answering.result()


async def _answer_inquiries(is_over: threading.Event) -> None:
    try:
        while not is_over.is_set():
            if asked := await in_database(replies.take)(runtime.load_graphs()):
                await replies.answer(asked)
            await asyncio.sleep(0.01)
    finally:
        await runtime.close_worker()


def rounds(groups: Sequence[Sequence[tuple[Paused, str, str]]]) -> list[list[dict[str, Any]]]:
    """Have the voters of each group vote at the same moment, group after group."""
    size = len(groups[0])
    together = threading.Barrier(size)
    found: list[list[dict[str, Any]]] = [[{}] * size for _ in groups]

    def cast(seat: int) -> None:
        for number, group in enumerate(groups):
            together.wait(60)
            try:
                found[number][seat] = vote(*group[seat])
            except Exception as error:  # noqa: BLE001 - whatever else came of it is for the test to see
                found[number][seat] = {"error": type(error).__name__}
        connection.close()

    with ThreadPoolExecutor(size) as people:
        list(people.map(cast, range(size)))
    return found


def carry_out(run_ids: Sequence[str]) -> None:
    """What a worker does with the jobs of these runs."""
    asyncio.run(_each(execution.execute_run, run_ids))


def carry_out_letting_others(run_ids: Sequence[str]) -> None:
    """The same with OTHER_WRITERS=flag."""
    settings.LETS_OTHERS_WRITE = True
    carry_out(run_ids)


def do(job: str, *ids: str, **arguments: Any) -> None:
    """Do a job of `approvals.jobs.tasks`, as a worker does."""

    async def work() -> None:
        try:
            await getattr(tasks, job)(*ids, **arguments)
        finally:
            await runtime.close_worker()

    asyncio.run(work())


def claim(approval_id: UUID) -> None:
    claims.claim(approval_id=approval_id, by=User.objects.get(username="alice"))


def open_whole(approval_id: UUID) -> None:
    """Open all that must be opened before a yes, for alice."""
    by = User.objects.get(username="alice")
    for part in whole_values.parts_to_open(Approval.objects.get(pk=approval_id)):
        whole_values.of_approval(approval_id=approval_id, part=part, by=by)


def make_overdue(approval_id: UUID) -> None:
    voting.make_overdue({"id": approval_id})


def clean(thread_id: str) -> None:
    by = User.objects.get(username="root")
    cleaning.force_clean(thread_id=thread_id, reason="because", by=by)


def sign() -> int:
    """Sign the audit log; return the number of notes."""
    return signing.sign()


def limits() -> dict[str, str]:
    """Return the limits of a connection to the database."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, setting || coalesce(unit, '') FROM pg_settings WHERE name LIKE '%timeout'")
        return dict(cursor.fetchall())


def recover(run_ids: Sequence[str]) -> None:
    """What a worker does with the jobs that `find_lost_runs` queued for them."""
    asyncio.run(_each(recovery.recover_run, run_ids))


async def _each(work: Callable[[str], Any], run_ids: Sequence[str]) -> None:
    gate = asyncio.Semaphore(8)

    async def one(run_id: str) -> None:
        async with gate:
            await work(run_id)

    try:
        await runtime.worker()
        await asyncio.gather(*map(one, run_ids))
    finally:
        await runtime.close_worker()


def work_on(seconds: float = 600) -> None:
    """Be a worker."""

    async def work() -> None:
        async with worker.running():
            await asyncio.sleep(seconds)

    asyncio.run(work())


def serve(port: int, *options: str) -> None:
    """Be `manage.py serve`."""
    call_command("serve", "--port", str(port), *options)


def retry(run_ids: Sequence[str]) -> None:
    """A person lets runs go on that were held."""
    alice = User.objects.get(username="alice")
    for run_id in run_ids:
        controls.retry_run(run_id=UUID(run_id), by=alice)


def cancel(run_id: str) -> None:
    controls.cancel_run(run_id=UUID(run_id), by=User.objects.get(username="alice"))


def move(thread_id: str) -> None:
    """Edit a thread as its agent would, outside the console."""

    async def edit() -> None:
        async with opening.open_pool(checkpoints.params(), max_size=2) as pool:
            bound = with_saver(paying.asking, opening.saver_over(pool))
            await bound.aupdate_state(config_for(thread_id), {"text": "moved"})

    asyncio.run(edit())


def verify() -> dict[str, Any]:
    return audit.verify().as_dict()


def token(name: str) -> str:
    return make_token(User.objects.get(username=name))


def serve_through(proxy: int, port: int) -> None:
    """Be `manage.py serve --no-worker`, with the database behind a proxy."""
    connections.settings["default"] |= {"HOST": "127.0.0.1", "PORT": str(proxy)}
    serve(port, "--no-worker")
