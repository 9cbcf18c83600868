"""Carry out a run, in a worker: take the lease, enter the graph, note its steps, store how it stopped.

`entered_at` is committed before the graph is called. So after a crash the row itself says whether a node may have been
running: without it the run simply starts again, with it `recovery` looks before anything is done twice.
"""

import asyncio
import contextlib
import logging
from dataclasses import replace
from functools import partial

from django.db import DatabaseError
from psycopg_pool import PoolTimeout

from agentcore.graphs import run_config, snapshots
from agentcore.graphs.gates import with_gates
from agentcore.graphs.resume import INVALID_EDIT
from agentcore.graphs.runs import RunContext
from agentcore.graphs.secret_paths import secret_paths
from agentcore.plain.errors import CannotEdit, CannotFork, FactoryFailed, FenceLost, OtherGraph, UnreadableThread
from agentcore.plain.kept_lines import kept_by
from agentcore.plain.masks import Mask
from agentcore.plain.types import Failed, Outcome
from agentcore.testing.failpoints import reach
from approvals import audit
from approvals.actions.runs import leases, run_logs, settling, taking
from approvals.actions.runs.broadcasts import Broadcast, broadcasting
from approvals.actions.runs.kinds import kind_of
from approvals.actions.runs.steps import Steps
from approvals.actions.runs.taken import HELD_SQL, TakenRun, Work
from approvals.database import in_database
from approvals.domain.run_metadata import RUN_KEY
from approvals.errors import Refusal
from approvals.jobs import runtime

logger = logging.getLogger(__name__)

_ENTERED_SQL = f"""
UPDATE approvals_run AS run SET entered_at = clock_timestamp(), updated_at = clock_timestamp()
FROM approvals_thread AS thread WHERE {HELD_SQL} RETURNING 1
"""


async def execute_run(run_id: str) -> None:
    """Run it unless somebody else has; safe to call any number of times."""
    taken = await in_database(taking.take_queued)(run_id)
    if taken is None:
        return
    task = asyncio.create_task(_carry_out(taken))
    stop = partial(asyncio.get_running_loop().call_soon_threadsafe, task.cancel)
    with leases.Renewal(taken.thread_id, taken.owner, taken.fence, on_lost=stop):
        try:
            await task
        except asyncio.CancelledError:
            logger.warning("a run was interrupted; recovery will look at it", extra={"run_id": run_id})
            task.cancel()
            await asyncio.wait([task])
            # Nothing of ours will write any more: recovery need not wait for the lease to end.
            with contextlib.suppress(DatabaseError, PoolTimeout):  # then the lease ends by itself
                await asyncio.shield(in_database(leases.give_back)(taken.thread_id, taken.owner, taken.fence))
            raise


async def _carry_out(taken: TakenRun) -> None:
    reach("run.claimed")
    worker = await runtime.worker()
    graph = worker.graphs.get(taken.graph_id)
    if graph is None:
        why = (
            worker.broken.get(taken.graph_id) or f"This worker has no graph {taken.graph_id}. Add it to langgraph.json."
        )
        return await in_database(settling.store)(taken, Failed("GraphMissing", why), None)
    graph = with_gates(graph, taken.options)
    work, head_at_stop = Work(taken, graph, worker.saver(taken.graph_id)), settling.BoundHead(taken.thread_id)
    steps = Steps(taken)
    if taken.attempts > 1:
        await in_database(run_logs.go_on)(steps.log, taken.run_id)
    try:
        async with broadcasting(taken) as broadcast:
            with kept_by(steps.log):
                outcome = await _run(work, worker, steps, broadcast, head_at_stop)
    except FenceLost:
        return await in_database(_note_fenced)(taken)
    reach("run.stopped")
    await settling.settle(work, outcome, head_at_stop, await steps.last())
    reach("run.settled")


async def _run(
    work: Work, worker: runtime.WorkerRuntime, steps: Steps, broadcast: Broadcast, head_at_stop: settling.BoundHead
) -> Outcome:
    """Run it and say how it stopped, without a secret. Raises FenceLost."""
    try:
        decrypted = kind_of(work.taken.kind).decrypted(work.taken, secret_paths(work.graph))
        work = replace(work, taken=decrypted)
        steps.mask = await _mask_for(work)
        broadcast.hide(steps.mask)
        told = replace(_context(work, worker, steps, head_at_stop), wanted=broadcast.wanted, on_event=broadcast.note)
        outcome = await _on_its_graph(told, work, worker)
    except (UnreadableThread, CannotFork, FactoryFailed, OtherGraph) as error:
        outcome = Failed(type(error).__name__, str(error))
    except CannotEdit as error:
        outcome = Failed(INVALID_EDIT, str(error))
    except Refusal as error:
        outcome = Failed(type(error).__name__, error.message)
    return replace(outcome, message=steps.mask.anywhere(outcome.message)) if isinstance(outcome, Failed) else outcome


async def _mask_for(work: Work) -> Mask:
    """Know the secrets of a run before it begins: what its tools are called with, or an error says, may hold them."""
    secrets = secret_paths(work.graph)
    if not secrets:
        return Mask(())
    here = await snapshots.snapshot(work.graph, work.saver, work.taken.thread_id)
    return Mask(secrets, here.values if here else {}, *kind_of(work.taken.kind).states_given(work.taken))


async def _on_its_graph(run: RunContext, work: Work, worker: runtime.WorkerRuntime) -> Outcome:
    """Enter the graph that the run runs. Where a factory makes it for each run, nothing ran if that raises."""
    taken = work.taken
    if taken.unbound:
        return Failed("Unbound", taken.unbound)
    if refused := await in_database(kind_of(taken.kind).why_not)(taken):
        return refused
    factory = worker.factories.get(taken.graph_id)
    if factory is None:
        return await kind_of(taken.kind).enter(taken, run)
    config = {"configurable": dict(run.configurable), "metadata": taken.metadata, **run.options}
    async with factory.opened(config, run.context, run.store) as graph:
        return await kind_of(taken.kind).enter(taken, replace(run, graph=with_gates(graph, taken.options)))


def _context(work: Work, worker: runtime.WorkerRuntime, steps: Steps, head_at_stop: settling.BoundHead) -> RunContext:
    taken, options = work.taken, work.taken.options
    given = {**options.get("context", {}), **options.get("configurable", {})}
    about = {"thread_id": taken.thread_id, "run_id": taken.run_id, "graph_id": taken.graph_id, "user": taken.user}
    saver = taken.fenced(work.saver)
    return RunContext(
        graph=work.graph,
        saver=saver,
        store=worker.store_of(saver),
        thread_id=taken.thread_id,
        metadata=taken.metadata,
        run_key=RUN_KEY,
        before_entering=partial(_note_entered, taken),
        on_step=steps.note,
        mask=steps.mask,
        before_outcome=head_at_stop.read,
        watch=steps.watch,
        is_retried=taken.attempts > 1,
        configurable=run_config.configurable_of(given, **about),
        options={name: options[name] for name in ("recursion_limit", "tags") if name in options},
        context=run_config.context_of(work.graph, options.get("context"), given),
    )


async def _note_entered(taken: TakenRun) -> None:
    """Note that a node may run from here on; raise FenceLost if the thread is another worker's by now."""
    await in_database(_store_entered)(taken)
    reach("run.entered")


def _store_entered(taken: TakenRun) -> None:
    taken.write(_ENTERED_SQL)


def _note_fenced(taken: TakenRun) -> None:
    """Write down that a worker came back from the dead and was refused. Its thread is another's, or was cancelled."""
    logger.error("a worker that had lost its thread tried to write", extra={"run_id": taken.run_id})
    about = {"run": taken.run_id, "fence": taken.fence}
    audit.append_by_worker("run.fenced", thread_id=taken.thread_id, object=about, outcome="refused")
