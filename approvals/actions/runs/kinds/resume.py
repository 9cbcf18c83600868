"""A run that carries out a decision: it gives the answer to the graph, once, and goes on from there."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from agentcore.graphs import resume
from agentcore.graphs.pauses import pauses_at
from agentcore.graphs.runs import RunContext
from agentcore.plain.json import digest
from agentcore.plain.types import Failed, Outcome, Pause, Paused, Snapshot
from agentcore.testing.failpoints import is_off
from approvals import checkpoints
from approvals.actions.runs.kinds.base import Kind
from approvals.actions.runs.taken import Decided, TakenRun
from approvals.database import in_database
from approvals.domain import encryption
from approvals.domain.policies import Rule
from approvals.domain.rulebook import Rulebook
from approvals.domain.run_metadata import RUN_KEY
from approvals.enums import OnCrash
from approvals.models import AuditEntry

NOT_AS_RECORDED = (
    "The decision in the database is not the one in the audit log, so nothing was run. Have an auditor verify the log."
)


class ResumeKind(Kind):
    """Gives the decision to the graph, at its gate or keyed to its question, and goes on from there."""

    def decrypted(self, taken: TakenRun, secrets: Iterable[str]) -> TakenRun:
        if taken.answer is None:
            return taken
        edits = encryption.decrypted(taken.answer.edits, secrets, taken.thread_id)
        return replace(taken, decided=replace(_decided(taken), answer=replace(taken.answer, edits=edits)))

    def states_given(self, taken: TakenRun) -> list[Mapping[str, Any]]:
        edits = taken.answer.edits if taken.answer else {}
        return [{name: edit["value"] for name, edit in edits.items()}]

    def why_not(self, taken: TakenRun) -> Failed | None:
        return None if _is_as_recorded(taken) else Failed("DecisionChanged", NOT_AS_RECORDED)

    async def enter(self, taken: TakenRun, run: RunContext) -> Outcome:
        decided = _decided(taken)
        run = replace(run, may_pass=partial(_may_pass, taken, run), changes=partial(_changes, taken))
        return await resume.resume(
            run,
            decided.answer or resume.Answer("approve"),
            expected_head=decided.namespace_at or taken.resume_from,
            namespace=decided.namespace,
            shown=decided.next if decided.answer else (),
        )

    def stopped(self, taken: TakenRun, here: Snapshot, inside: Snapshot | None) -> Outcome | None:
        return self._stopped_here(taken, here) or _stopped_inside(taken, here, inside)

    def _stopped_here(self, taken: TakenRun, here: Snapshot) -> Outcome | None:
        """A question of `interrupt()` may be answered, and the next one asked, at one checkpoint."""
        if here.running:
            return None
        if _is_answered(taken, here):
            return Paused(here) if here.is_paused else None
        if here.source == "update":
            return None  # our own edit, and the graph was called since: a node may have been running
        return super().stopped(taken, here, None)

    def is_moved(self, taken: TakenRun, here: Snapshot) -> bool:
        """True if the newest checkpoint is neither of this run nor the one it began at."""
        return here.metadata.get(RUN_KEY) != taken.run_id and here.checkpoint_id != taken.resume_from

    def may_begin_again(self, taken: TakenRun, here: Snapshot | None) -> bool:
        return _decided(taken).rule.on_crash == OnCrash.RESUME or here is not None and _is_over(taken, here)


def _decided(taken: TakenRun) -> Decided:
    assert taken.decided is not None, "a run of this kind has a decision"
    return taken.decided


def _is_as_recorded(taken: TakenRun) -> bool:
    """Return whether the audit log has this answer as the one that was decided."""
    decided = _decided(taken)
    if decided.answer is None:
        return True
    reached = AuditEntry.objects.filter(thread_id=taken.thread_id, action="decision.reached")
    entries = reached.filter(body__contains=decided.decision_id).order_by("-seq")
    told = next((r for r in (e.record for e in entries) if r["object"].get("decision") == decided.decision_id), None)
    if told is None:
        return False
    wanted = {
        "answer": decided.answer_digest,
        "given": digest(decided.answer.answer),
        "preview": decided.answer.result_digest or "",
        "bytes": decided.bytes_digest,
    }
    return all(told["digests"].get(name, value) == value for name, value in wanted.items())


async def _changes(taken: TakenRun, checkpoint_id: str) -> list[str]:
    return await in_database(_changes_stored)(taken, checkpoint_id)


def _changes_stored(taken: TakenRun, checkpoint_id: str) -> list[str]:
    """Name what is stored differently than when it was decided. This run's own edit may stand there."""
    decided = _decided(taken)
    if decided.bound is None or is_off("bytes_check"):
        return []
    decided_at = decided.bound.at(decided.namespace)
    # LangGraph notes what an edit writes before it makes its checkpoint: a worker may have died in between.
    may_be_begun = taken.attempts > 1 and decided.answer is not None and not decided.answer.interrupt_id
    edited = (decided.namespace, decided_at) if checkpoint_id != decided_at or may_be_begun else None
    return checkpoints.changed(taken.thread_id, decided.bound, edited=edited)


async def _may_pass(taken: TakenRun, run: RunContext, here: Snapshot) -> bool:
    """Return whether the decision is enough for the gates that an edit led to. Their policies may demand more."""
    decided = _decided(taken)
    others = [pause for pause in pauses_at(run.graph, here) if not set(pause.next) <= set(decided.next)]
    return not others or await in_database(_covers)(taken.graph_id, decided.rule, others)


def _covers(graph_id: str, rule: Rule, pauses: list[Pause]) -> bool:
    book = Rulebook(graph_id)
    return all(rule.covers(book.rule_for(pause)) for pause in pauses)


def _stopped_inside(taken: TakenRun, here: Snapshot, inside: Snapshot | None) -> Outcome | None:
    """The same inside a subgraph, which leaves the thread's newest checkpoint as it is: at its next breakpoint."""
    decided = _decided(taken)
    if inside is None or not decided.namespace or here.running or inside.running:
        return None
    is_past = inside.metadata.get(RUN_KEY) == taken.run_id and inside.checkpoint_id != decided.namespace_at
    return Paused(here) if is_past and inside.is_paused and inside.source != "update" else None


def _is_answered(taken: TakenRun, here: Snapshot) -> bool:
    """Return whether the question of this run no longer waits at the checkpoint where it was asked."""
    asked = taken.answer.interrupt_id if taken.answer else ""
    if not asked or not here.interrupts or here.checkpoint_id != taken.resume_from:
        return False
    waits = {pending.id for pending in here.interrupts if not pending.is_poisoned}
    is_followed = any(asked in pending.after for pending in here.interrupts)
    return is_followed or asked not in waits | here.answers.keys()


def _is_over(taken: TakenRun, here: Snapshot) -> bool:
    """Return whether the nodes of the answered step have all ended and none ran since.

    The end of a step itself is not stored.
    """
    is_there = bool(taken.answer and taken.answer.interrupt_id) and here.checkpoint_id == taken.resume_from
    return is_there and bool(here.waiting) and not (here.next or here.interrupts or here.errors)
