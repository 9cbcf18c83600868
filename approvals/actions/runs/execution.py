"""Carry out a run, in a worker: take the lease, read where the thread stands, run the graph, store how it stopped.

`entered_at` is committed before the graph is called. So after a crash the row itself says whether a node may have been
running: without it the run simply starts again, with it `recover_runs` looks before anything is done twice.
"""

import asyncio
import contextlib
import logging
from dataclasses import asdict, dataclass, replace
from typing import Any

from django.db import DatabaseError, DataError
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils import timezone
from psycopg_pool import PoolTimeout

from agentcore import dialects
from agentcore.graphs import forks, resume, snapshots
from agentcore.graphs.registry import Graph
from agentcore.graphs.snapshots import Saver
from agentcore.graphs.tools import Watch
from agentcore.plain import masks
from agentcore.plain.bound_bytes import BEHIND, Bound
from agentcore.plain.errors import CannotFork, FenceLost, InvalidEdit, UnreadableThread
from agentcore.plain.tables import Head
from agentcore.plain.types import Call, Conflict, Failed, Finished, Outcome, Pause, Paused, Snapshot, Step
from agentcore.savers.fence import fenced
from agentcore.savers.serializers import digest
from agentcore.testing.failpoints import is_off, reach
from approvals import audit, checkpoints
from approvals.actions.runs import interference, leases
from approvals.actions.threads import indexing
from approvals.actions.threads.indexing import RUN_KEY
from approvals.database import in_database
from approvals.domain import answers, bindings, policies
from approvals.domain import secrets as encryption
from approvals.domain.policies import Rule
from approvals.domain.rulebook import Rulebook
from approvals.enums import RunKind, RunStatus, ThreadStatus
from approvals.errors import Refusal
from approvals.jobs import runtime
from approvals.live import events
from approvals.models import AuditEntry, Decision, Run, Thread

logger = logging.getLogger(__name__)

_TRIES = 5

FENCE_KEY = "countersign_fence"
EACH_TIME = ("status", "resume_from", "is_edited", "bound")
"""What entries about a run tell of it each time."""
DECISION_KEY = "countersign_decision"
MOVED = "The agent moved the thread before this run began, so it did not go back. Look at the thread again."
FENCED = "Another worker has this thread, or its run was cancelled."
NOT_STORABLE = "What the agent asks, or its state, holds something that the database cannot keep. Look at the agent."
NOT_AS_RECORDED = (
    "The decision in the database is not the one in the audit log, so nothing was run. Have an auditor verify the log."
)


@dataclass(frozen=True)
class Claim:
    """A run that this worker may carry out, with everything it needs as plain values."""

    run_id: str
    thread_id: str
    graph_id: str
    kind: str
    owner: str
    fence: int
    input: Any
    resume_from: str
    namespace: str
    """Of the subgraph at whose breakpoint the answer was given; empty for the thread's own."""
    namespace_at: str
    """The checkpoint there."""
    answer: resume.Answer | None
    answer_digest: str
    decision_id: str
    bound: Bound | None
    bytes_digest: str
    on_crash: str
    attempts: int
    stood_at: str
    """The newest checkpoint when this worker took the thread."""
    unbound: str = ""
    """Why this graph must not be run on the thread."""

    @property
    def metadata(self) -> dict[str, Any]:
        """What every checkpoint of the run says about itself."""
        told = {RUN_KEY: self.run_id, FENCE_KEY: self.fence, "graph_id": self.graph_id}
        return told | ({DECISION_KEY: self.decision_id} if self.decision_id else {})

    def fenced(self, saver: Saver) -> Saver:
        """Return the saver this run writes with: refused from the moment another worker has the thread."""
        return fenced(saver, self.thread_id, self.fence)


@dataclass(frozen=True)
class Seen:
    """Where the thread stood after the run."""

    snapshot: Snapshot
    pauses: list[Pause]
    head: Head
    bound: Bound | None


async def execute_run(run_id: str) -> None:
    """Run it unless somebody else has; safe to call any number of times."""
    claim = await in_database(_claim)(run_id)
    if claim is None:
        return
    task = asyncio.create_task(_carry_out(claim))
    loop = asyncio.get_running_loop()

    def stop() -> None:
        loop.call_soon_threadsafe(task.cancel)

    with leases.Renewal(claim.thread_id, claim.owner, claim.fence, on_lost=stop):
        try:
            await task
        except asyncio.CancelledError:
            logger.warning("a run was interrupted; recovery will look at it", extra={"run_id": run_id})
            task.cancel()
            await asyncio.wait([task])
            # Nothing of ours will write any more: recovery need not wait for the lease to end.
            with contextlib.suppress(DatabaseError, PoolTimeout):  # then the lease ends by itself
                await asyncio.shield(in_database(leases.give_back)(claim.thread_id, claim.owner, claim.fence))
            raise


async def _carry_out(claim: Claim) -> None:
    reach("run.claimed")
    worker = await runtime.worker()
    graph = worker.graphs.get(claim.graph_id)
    if graph is None:
        missing = Failed("GraphMissing", f"This worker has no graph {claim.graph_id}. Add it to langgraph.json.")
        return await in_database(_settle)(claim, missing, None)
    saver = worker.saver(claim.graph_id)
    mask = masks.Mask(())
    try:
        claim = _decrypted(claim, graph)
        mask = await _mask_for(claim, graph, saver)
        outcome = await _run(claim, graph, claim.fenced(saver), _Steps(claim, mask))
    except (UnreadableThread, CannotFork, InvalidEdit) as error:
        outcome = Failed(type(error).__name__, str(error))
    except Refusal as error:
        outcome = Failed(type(error).__name__, error.message)
    except FenceLost:
        return await in_database(_note_fenced)(claim)
    reach("run.stopped")
    if isinstance(outcome, Failed):
        outcome = replace(outcome, message=mask.anywhere(outcome.message))
    await settle(claim, graph, saver, outcome)
    reach("run.settled")


def _decrypted(claim: Claim, graph: Graph) -> Claim:
    """Break the seals of new secrets: from here on they are in this worker only. Raises Refusal."""
    secrets = masks.secret_paths(graph)
    if claim.kind == RunKind.START:
        return replace(claim, input=encryption.decrypted_input(claim.input, secrets, claim.thread_id))
    if claim.kind == RunKind.FORK:  # sealed for the thread it was asked for at
        source, given = claim.input["thread_id"], claim.input
        opened = {
            "edits": encryption.decrypted(given["edits"], secrets, source),
            "input": encryption.decrypted_input(given["input"], secrets, source),
        }
        return replace(claim, input=given | opened)
    if claim.answer is None:
        return claim
    edits = encryption.decrypted(claim.answer.edits, secrets, claim.thread_id)
    return replace(claim, answer=replace(claim.answer, edits=edits))


async def _mask_for(claim: Claim, graph: Graph, saver: Saver) -> masks.Mask:
    """Know the secrets of a run before it begins: what its tools are called with, or an error says, may hold them."""
    secrets = masks.secret_paths(graph)
    if not secrets:
        return masks.Mask(())
    here = await snapshots.snapshot(graph, saver, claim.thread_id)
    forked = claim.input if claim.kind == RunKind.FORK else {}
    edits = claim.answer.edits if claim.answer else forked.get("edits", {})
    given = forked.get("input") if forked else claim.input
    edited = {name: edit["value"] for name, edit in edits.items()}
    return masks.Mask(secrets, here.values if here else {}, given or {}, edited)


async def _run(claim: Claim, graph: Graph, saver: Saver, steps: "_Steps") -> Outcome:

    async def enter() -> None:
        await in_database(_enter)(claim)
        reach("run.entered")

    async def may_pass(here: Snapshot) -> bool:
        return await in_database(_is_enough)(claim, dialects.read(graph, here))

    async def changes(checkpoint_id: str) -> list[str]:
        return await in_database(_changes)(claim, checkpoint_id)

    if claim.unbound:
        return Failed("Unbound", claim.unbound)
    if not await in_database(_is_as_recorded)(claim):
        return Failed("DecisionChanged", NOT_AS_RECORDED)

    if claim.kind == RunKind.REPAIR:
        return await resume.ask_again(graph, saver, thread_id=claim.thread_id)

    async def start(input: Any) -> Outcome:
        return await resume.start(
            graph,
            saver,
            thread_id=claim.thread_id,
            input=input,
            metadata=claim.metadata,
            run_key=RUN_KEY,
            before_entering=enter,
            on_step=steps.note,
            watch=steps.watch,
        )

    if claim.kind == RunKind.START:
        return await start(claim.input)
    if claim.kind == RunKind.FORK:
        forked = await _fork(claim, graph, saver)
        return forked if claim.input["input"] is None else await start(claim.input["input"])
    if claim.kind == RunKind.REPLAY:
        return await _stand_again(claim, graph, saver) or await start(None)
    return await resume.resume(
        graph,
        saver,
        thread_id=claim.thread_id,
        expected_head=claim.namespace_at or claim.resume_from,
        namespace=claim.namespace,
        answer=claim.answer or resume.Answer("approve"),
        metadata=claim.metadata,
        run_key=RUN_KEY,
        before_entering=enter,
        on_step=steps.note,
        watch=steps.watch,
        is_retried=claim.attempts > 1,
        may_pass=may_pass,
        changes=changes,
    )


async def _fork(claim: Claim, graph: Graph, saver: Saver) -> Outcome:
    """Copy what `input` names to the run's own thread; nothing is run."""
    given = claim.input
    here = await forks.fork(
        graph,
        saver,
        thread_id=given["thread_id"],
        checkpoint_id=given["checkpoint_id"],
        into=claim.thread_id,
        edits=given["edits"],
        as_node=given["as_node"] or None,
        metadata=claim.metadata,
        run_key=RUN_KEY,
    )
    return Paused(here) if here.is_paused else Finished(here)


async def _stand_again(claim: Claim, graph: Graph, saver: Saver) -> Conflict | None:
    """Put the thread where the replay begins; Conflict if it moved since that was asked for."""
    here = await snapshots.snapshot(graph, saver, claim.thread_id)
    is_ours = here is not None and here.metadata.get(RUN_KEY) == claim.run_id
    if here is None or (here.checkpoint_id != claim.resume_from and not is_ours):
        return Conflict(claim.resume_from, here.checkpoint_id if here else None, MOVED)
    checkpoint_id = claim.input["checkpoint_id"]
    at = {"thread_id": claim.thread_id, "checkpoint_id": checkpoint_id}
    await forks.stand_again(graph, saver, **at, metadata=claim.metadata, run_key=RUN_KEY)
    return None


async def settle(claim: Claim, graph: Graph, saver: Saver, outcome: Outcome) -> None:
    """Store how the run stopped, with the pauses it led to, and give the lease back: one transaction."""
    seen: Seen | None = None
    try:
        seen = await _look(claim.thread_id, graph, saver, outcome)
    except UnreadableThread as error:
        outcome = outcome if isinstance(outcome, Failed) else Failed("UnreadableThread", str(error))
    if isinstance(outcome, Paused | Finished) and seen is None:
        outcome = Failed("ThreadGone", "The thread was deleted while it ran.")
    try:
        await in_database(_settle)(claim, outcome, seen)
    except DataError:
        logger.exception("what a thread holds could not be stored", extra={"run_id": claim.run_id})
        await in_database(_settle)(claim, Failed("NotStorable", NOT_STORABLE), None)


async def _look(thread_id: str, graph: Graph, saver: Saver, outcome: Outcome) -> Seen | None:
    """Read where the thread stands, with what its questions are bound to; both are of one moment."""
    seen: Seen | None = None
    for _ in range(_TRIES):
        head, before = await in_database(indexing.read_place)(thread_id)
        snapshot = await snapshots.snapshot(graph, saver, thread_id)
        if head is None or before is None or snapshot is None:
            return None
        is_asking = isinstance(outcome, Paused | Conflict) or _has_done_nothing(outcome) or bool(snapshot.interrupts)
        pauses = dialects.read(graph, snapshot) if is_asking else []
        is_bound = bool(pauses) or isinstance(outcome, Failed)
        found = await indexing.bind(thread_id, before, snapshot) if is_bound else None
        seen = Seen(snapshot, pauses, head, found)
        if found or not pauses:
            return seen
    assert seen is not None
    # It never stands still: seen as it was a moment ago, and asking nobody until a sweep has found it at rest.
    return replace(seen, pauses=[], head=Head(seen.snapshot.checkpoint_id, ""))


@audit.transaction()
def _claim(run_id: str) -> Claim | None:
    taken = take(run_id, when=RunStatus.QUEUED)
    if taken is None:
        return None
    run, claim = taken
    run.status, run.attempts, run.updated_at = RunStatus.RUNNING, run.attempts + 1, timezone.now()
    run.save(update_fields=["status", "attempts", "updated_at"])
    events.publish(thread_id=run.thread_id)
    _audit("run.started", run, attempt=run.attempts, fence=claim.fence)
    return replace(claim, attempts=run.attempts)


def take(run_id: str, *, when: RunStatus) -> tuple[Run, Claim] | None:
    """Lock the thread and take its lease for this run; None when the run is not `when`, or somebody has it."""
    thread_id = Run.objects.filter(pk=run_id).values_list("thread_id", flat=True).first()
    if thread_id is None:
        return None
    thread = Thread.objects.locked(thread_id)
    run = Run.objects.select_related("thread", "decision__approval").get(pk=run_id)
    is_early = Run.objects.filter(pk=run_id, retry_at__gt=Now()).exists()
    if run.status != when or is_early:
        return None
    owner = leases.new_owner()
    fence = leases.take(thread, owner)
    return None if fence is None else (run, _claim_of(run, owner, fence))


def _claim_of(run: Run, owner: str, fence: int) -> Claim:
    asked = run.decision.approval if run.decision and _begins_with_answer(run) else None
    head = checkpoints.read_head(run.thread_id)
    return Claim(
        run_id=str(run.pk),
        thread_id=run.thread_id,
        graph_id=run.graph_id,
        kind=run.kind,
        owner=owner,
        fence=fence,
        input=run.input,
        resume_from=run.resume_from,
        namespace=asked.checkpoint_ns if asked else "",
        namespace_at=asked.checkpoint_id if asked and asked.checkpoint_ns else "",
        answer=_answer_of(run.decision) if asked else None,
        answer_digest=_digest_of(run.decision),
        decision_id=str(run.decision_id or ""),
        bound=Bound.of(run.bound or run.decision.approval.bound) if run.decision else None,
        bytes_digest=indexing.bytes_digest(run.decision.approval) if run.decision else "",
        on_crash=Rule.of(run.decision.approval.rule).on_crash if run.decision else "resume",
        attempts=run.attempts,
        stood_at=head.checkpoint_id if head else "",
        unbound=bindings.why_not_run(run.thread, run.graph_id, checkpoints.read_metadata(run.thread_id)),
    )


def _begins_with_answer(run: Run) -> bool:
    """A run that goes on after a stop carries out no answer a second time."""
    return run.decision is not None and (run.is_edited or run.resume_from == run.decision.approval.head)


def stand_at(run: Run, here: Snapshot) -> None:
    """Have the run go on from where its thread stands when it is tried again."""
    is_own = here.source == "update" and here.metadata.get(RUN_KEY) == str(run.pk)
    asked_at = run.decision.approval.head if run.decision else None
    run.is_edited = is_own and here.parent_checkpoint_id == asked_at
    run.resume_from = here.checkpoint_id


def _answer_of(decision: Decision | None) -> resume.Answer | None:
    """Return what people decided."""
    if decision is None:
        return None
    return resume.Answer(
        verdict=decision.verdict,
        edits=decision.edits,
        as_node=decision.as_node or None,
        reason=decision.comment,
        result_digest=decision.seen_preview or None,
        interrupt_id=decision.approval.interrupt_id,
        answer=answers.given(decision.approval, decision),
    )


def _digest_of(decision: Decision | None) -> str:
    if decision is None:
        return ""
    return policies.answer_digest(
        verdict=decision.verdict,
        edits=decision.edits,
        answer=decision.answer,
        as_node=decision.as_node,
        comment=decision.comment,
    )


def _is_as_recorded(claim: Claim) -> bool:
    """Whether the answer that is about to be given is the one that the audit log says was decided."""
    if claim.answer is None:
        return True
    entries = AuditEntry.objects.filter(thread_id=claim.thread_id, action="decision.reached").order_by("-seq")
    told = next((r for r in (e.record for e in entries) if r["object"].get("decision") == claim.decision_id), None)
    if told is None:
        return False
    wanted = {
        "answer": claim.answer_digest,
        "given": digest(claim.answer.answer),
        "preview": claim.answer.result_digest or "",
        "bytes": claim.bytes_digest,
    }
    return all(told["digests"].get(name, value) == value for name, value in wanted.items())


def _changes(claim: Claim, checkpoint_id: str) -> list[str]:
    """Name what is stored otherwise than when it was decided, but for this run's own edit, which may stand there."""
    if claim.bound is None or is_off("bytes_check"):
        return []
    decided_at = claim.bound.at(claim.namespace)
    # LangGraph notes what an edit writes before it makes its checkpoint: a worker may have died in between.
    may_be_begun = claim.attempts > 1 and claim.answer is not None and not claim.answer.interrupt_id
    edited = (claim.namespace, decided_at) if checkpoint_id != decided_at or may_be_begun else None
    return checkpoints.changed(claim.thread_id, claim.bound, edited=edited)


def _is_enough(claim: Claim, pauses: list[Pause]) -> bool:
    """Whether what was decided is enough for the gates an edit led to: their policies may ask for more."""
    approval = Decision.objects.select_related("approval").get(pk=claim.decision_id).approval
    asked, book = Rule.of(approval.rule), Rulebook(claim.graph_id)
    return all(set(pause.next) <= set(approval.next) or asked.covers(book.rule_for(pause)) for pause in pauses)


def _enter(claim: Claim) -> None:
    """Note that a node may run from here on; raise FenceLost if the thread is another worker's by now."""
    if not _ours(claim).update(entered_at=timezone.now(), updated_at=timezone.now()):
        raise FenceLost(FENCED)


def _ours(claim: Claim) -> QuerySet[Run]:
    """Select the claimed run while this worker has its thread."""
    run = Run.objects.filter(pk=claim.run_id)
    if is_off("fence"):
        return run
    return run.filter(status=RunStatus.RUNNING, thread__fence=claim.fence, thread__lease_owner=claim.owner)


def _note_fenced(claim: Claim) -> None:
    """Write down that a worker came back from the dead and was refused. Its thread is another's, or was cancelled."""
    logger.error("a worker that had lost its thread tried to write", extra={"run_id": claim.run_id})
    about = {"run": claim.run_id, "fence": claim.fence}
    audit.append_by_worker("run.fenced", thread_id=claim.thread_id, object=about, outcome="refused")


@audit.transaction()
def _settle(claim: Claim, outcome: Outcome, seen: Seen | None) -> None:
    thread = Thread.objects.locked(claim.thread_id)
    run = Run.objects.get(pk=claim.run_id)
    if (thread.lease_owner, thread.fence, run.status) != (claim.owner, claim.fence, RunStatus.RUNNING):
        logger.error("a worker that lost its lease had a result; it is dropped", extra={"run_id": claim.run_id})
        return
    if run.decision:
        _compare(run, run.decision)
    has_others = leases.let_go(claim.thread_id, claim.fence)
    if not isinstance(outcome, Conflict):
        interference.note(run, has_others=has_others, since=claim.resume_from or claim.stood_at)
    if run.decision and run.decision.edits and not _is_refused(outcome):
        _audit("state.edited", run, approval=str(run.decision.approval_id), by=run.started_by)
    match outcome:
        case Paused():
            _end(run, RunStatus.PAUSED, "run.paused")
        case Finished():
            is_copy = run.kind == RunKind.FORK and run.entered_at is None
            _end(run, RunStatus.FINISHED, "run.copied" if is_copy else "run.finished")
        case Failed():
            run.error, run.problem = outcome.error, outcome.message
            if seen:
                stand_at(run, seen.snapshot)
                run.bound = seen.bound.plain() if seen.bound and run.entered_at else None
            _end(run, RunStatus.FAILED, "run.failed", error=outcome.error, node=outcome.node)
        case Conflict():
            run.problem = outcome.reason
            _end(run, RunStatus.SUPERSEDED, "run.superseded", expected=outcome.expected, found=outcome.found)
            if outcome.reason == BEHIND and run.decision:
                indexing.record_tampering(run.decision.approval, outcome.changes)
    thread.lease_owner, thread.lease_until = "", None
    if seen is not None:
        # Also what was decided, but not carried out: nobody else would ever ask it again.
        is_asked_again = run.kind == RunKind.REPAIR or isinstance(outcome, Conflict) or _has_done_nothing(outcome)
        indexing.store(
            thread,
            seen.snapshot,
            seen.pauses,
            seen.head,
            seen.bound,
            is_asked_again=is_asked_again,
            is_after_run=True,
        )
        return
    thread.status, thread.updated_at = ThreadStatus.ERROR, timezone.now()
    thread.save()
    events.publish(thread_id=thread.pk)


def _has_done_nothing(outcome: Outcome) -> bool:
    return isinstance(outcome, Failed) and outcome.error == resume.NOTHING_RAN


def _compare(run: Run, decision: Decision) -> None:
    """Flag what ran otherwise than was decided: an agent may skip an answer, and run what was rejected."""
    found = answers.deviations(decision.approval, decision, [Call(**call) for call in run.calls])
    if set(found) <= set(decision.deviations):
        return
    decision.deviations = list(dict.fromkeys([*decision.deviations, *found]))
    decision.save(update_fields=["deviations"])
    about = {"run": str(run.pk), "approval": str(decision.approval_id), "decision": str(decision.pk)}
    audit.append_by_worker(
        "decision.not_followed",
        thread_id=run.thread_id,
        object={**about, "what": found},
        outcome="deviated",
        rows=audit.told(decision, "deviations"),
    )


def _is_refused(outcome: Outcome) -> bool:
    return isinstance(outcome, Conflict) or isinstance(outcome, Failed) and outcome.error == "InvalidEdit"


def _end(run: Run, status: RunStatus, action: str, **about: Any) -> None:
    run.status, run.ended_at, run.updated_at = status, timezone.now(), timezone.now()
    run.save()
    _audit(action, run, **about)


def _audit(action: str, run: Run, **about: Any) -> None:
    told = {name: value for name, value in about.items() if value not in (None, "")}
    audit.append_by_worker(
        action,
        thread_id=run.thread_id,
        object={"run": str(run.pk), **told},
        rows=audit.told(run, *EACH_TIME),
    )


class _Steps:
    """Keeps the nodes of the run on its row, for pages to show while it goes on."""

    def __init__(self, claim: Claim, mask: masks.Mask) -> None:
        self._claim, self._mask = claim, mask
        self.watch = Watch()
        self._steps: list[dict[str, Any]] = []
        self._lock = asyncio.Lock()

    async def note(self, step: Step) -> None:
        async with self._lock:
            await in_database(self._write)(step)

    def _write(self, step: Step) -> None:
        now = timezone.now().isoformat()
        found = next((item for item in self._steps if item["task_id"] == step.task_id), None)
        if found is None:
            found = {"task_id": step.task_id, "node": step.node, "started_at": now}
            self._steps.append(found)
        found["state"] = step.state
        if step.state != "running":
            found["ended_at"] = now
        calls = self._mask.anywhere([asdict(call) for call in self.watch.calls])
        # Outside a transaction: the row is locked for this statement alone, so no thread needs to be locked before it.
        if not _ours(self._claim).update(steps=self._steps, calls=calls, updated_at=timezone.now()):
            raise FenceLost(FENCED)
        reach("run.stepped")
        events.publish(thread_id=self._claim.thread_id, is_queue_changed=False)
