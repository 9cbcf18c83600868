"""Judges: each recognises one reason. They are asked in order, and the first answer counts.

To add a reason, write a judge that returns None unless it applies, and insert it into `_JUDGES`.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime

from agentcore.plain.types import NODE_GONE
from approvals.domain.diagnosis import advised_steps as do
from approvals.domain.diagnosis.facts import AdvisedStep, Asked, Diagnosis, Facts, Health, RunFacts
from approvals.domain.diagnosis.words import ended, listed
from approvals.enums import STUCK_RUNS, RunStatus, ThreadStatus

QUIET_SECONDS = 300
"""A node that takes longer may hang. That cannot be known from outside, so a person should look."""
OUTSIDE_SECONDS = 120
"""How long a thread run by another program may stand before a node before its process is presumed dead."""
_MOST_QUESTIONS = 5
_UNREADABLE = ("UnreadableThread", "NotStorable")


def judge(facts: Facts) -> Diagnosis:
    """Return the diagnosis of a thread: the reason in a few sentences, and steps that help."""
    found = next(said for said in (each(facts) for each in _JUDGES) if said)
    notes, more = _notes(facts, found)
    return replace(
        found,
        sentence=" ".join([found.sentence, *notes]),
        steps=(*found.steps, *more),
        word=found.word or str(found.health.label),
        facts=tuple(_facts(facts)),
    )


# Nothing to do


def _cleaned(f: Facts) -> Diagnosis | None:
    if not f.is_cleaned:
        return None
    told = "An admin force-cleaned this thread: its checkpoints are gone, and nothing runs on it again."
    steps = (AdvisedStep("new_thread", "Start a new thread", permission="start_run", call="POST /api/threads"),)
    return Diagnosis(Health.DONE, "cleaned", told, steps, is_moving=True, word="Cleaned")


def _new(f: Facts) -> Diagnosis | None:
    if f.checkpoint_id:
        return None
    told = "Nothing has run on this thread yet."
    if f.run and f.run.status == RunStatus.CANCELLED:
        told = "Its run was cancelled before it wrote anything."
    return Diagnosis(Health.DONE, "new", told, (do.start(f),), is_moving=True, word="Nothing ran yet")


def _done(f: Facts) -> Diagnosis:
    return Diagnosis(Health.DONE, "done", "The graph reached its end.", (do.start(f),), is_moving=True)


# A run has it


def _running(f: Facts) -> Diagnosis | None:
    run = f.run
    if run is None or run.status != RunStatus.RUNNING or not f.is_held:
        return None
    begun = run.node_since or run.created_at
    worker = f"Worker {f.lease_worker}" if f.lease_worker else "A worker"
    told = f"{worker} has run {run.node or 'the graph'} for {f.ago(begun)}{_attempt(run)}."
    left = f.until(f.lease_until)
    if f.is_worker_silent:
        told += f" But it has not been heard of for {f.ago(f.worker_seen_at)}."
        return Diagnosis(Health.RUNNING, "silent", told, (do.wait_for_lease(left), *do.need_worker(f), do.cancel(run)))
    is_long = (f.now - begun).total_seconds() > QUIET_SECONDS
    wait = AdvisedStep(
        "wait", "Wait", f"the worker says that it lives, and keeps its lease; without that it ends in {left}"
    )
    cancel = do.cancel(run, "if the node hangs. Nothing it writes is accepted any more")
    steps = (cancel, wait) if is_long else (wait, cancel)
    return Diagnosis(Health.RUNNING, "running", told, steps, is_moving=True)


def _lease_lost(f: Facts) -> Diagnosis | None:
    run = f.run
    if run is None or run.status != RunStatus.RUNNING:
        return None
    worker = f"Worker {f.lease_worker}" if f.lease_worker else "Its worker"
    lease = f", whose lease ended {f.ago(f.lease_until)} ago," if f.lease_until else ""
    told = f"{worker}{lease} died or lost the thread"
    told += f" while {run.node} may have been running." if run.node else "."
    need = do.need_worker(f)
    look = "recovery looks every 5 s: it goes on, or asks a person where an effect could happen twice"
    steps = (*need, AdvisedStep("wait", "Wait", look), do.cancel(run))
    return Diagnosis(Health.CRASHED, "lease_lost", told, steps, is_moving=not need, word="Worker lost")


def _queued(f: Facts) -> Diagnosis | None:
    run = f.run
    if run is None or run.status != RunStatus.QUEUED:
        return None
    if need := do.need_worker(f):
        kind, word = ("graph_gone", "Graph missing") if f.is_graph_gone else ("no_worker", "No worker")
        told = f"A run has been queued for {f.ago(run.created_at)}, and {_no_worker(f)}."
        return Diagnosis(Health.UNKNOWN, kind, told, (*need, do.cancel(run)), word=word)
    if run.retry_at and run.retry_at > f.now:
        told = f"Its worker died. Attempt {run.attempts + 1} begins in {f.until(run.retry_at)}."
        steps = (AdvisedStep("wait", "Wait", "it begins by itself"), do.cancel(run))
        return Diagnosis(Health.RUNNING, "backing_off", told, steps, is_moving=True, word="Waits to try again")
    told = f"A run has been queued for {f.ago(run.created_at)}; a worker that has its graph takes it when it is free."
    steps = (AdvisedStep("wait", "Wait", "runs are taken in turn; more workers take more at once"), do.cancel(run))
    return Diagnosis(Health.RUNNING, "queued", told, steps, is_moving=True, word="Queued")


# What the console cannot read


def _deleted(f: Facts) -> Diagnosis | None:
    if f.checkpoint_id or f.status != ThreadStatus.IDLE or not f.problem:
        return None
    told = "Its checkpoints were deleted, outside the console: nobody can go on from where it stood."
    return Diagnosis(Health.UNKNOWN, "deleted", told, (do.start(f), do.clean(f)), word="Checkpoints gone")


def _moved(f: Facts) -> Diagnosis | None:
    if not f.is_moved:
        return None
    told = "The thread has moved, and the console has not read it yet."
    need = do.need_worker(f)
    steps = (*need, AdvisedStep("wait", "Wait", "a worker reads it within seconds"))
    return Diagnosis(Health.UNKNOWN, "moved", told, steps, is_moving=not need, word="Being read")


def _ended_elsewhere(f: Facts) -> Diagnosis | None:
    """It has no graph here, and needs none any more."""
    if not (f.unbound or f.is_unread) or f.status != ThreadStatus.IDLE:
        return None
    told = "It has reached its end where it ran: nothing of it waits, and nothing failed."
    told = f"{told} {ended(f.unbound or f.problem)}"
    return Diagnosis(Health.DONE, "done", told, (do.clean(f),), is_moving=True)


def _unbound(f: Facts) -> Diagnosis | None:
    if not f.unbound:
        return None
    if f.graph_id or f.fitting:
        return Diagnosis(Health.UNKNOWN, "unbound", f.unbound, (do.bind(f), do.clean(f)), word="Graph not certain")
    add = "then it is read again. Or run it with graph_id in the config's metadata"
    step = do.operate("graph", "Add its graph to langgraph.json and restart the worker", add)
    return Diagnosis(Health.UNKNOWN, "no_graph", f.unbound, (step, do.clean(f), do.bind(f)), word="Graph unknown")


def _unread(f: Facts) -> Diagnosis | None:
    if not f.is_unread:
        return None
    if not f.graph_id:
        add = "then it is read again. Or run it with graph_id in the config's metadata"
        step = do.operate("graph", "Add its graph to langgraph.json and restart the worker", add)
        told = "No graph of langgraph.json fits this thread, so nobody knows what it would do next."
        return Diagnosis(Health.UNKNOWN, "no_graph", told, (step, do.clean(f)), word="Graph unknown")
    what = f"Mend the graph {f.graph_id}, or what was stored, and restart the worker"
    mend = do.operate("code", what, "then it is read again")
    told = f"{ended(f.problem or 'LangGraph cannot read this thread')} What it would do next is not known."
    return Diagnosis(Health.UNKNOWN, "unreadable", told, (*do.need_worker(f), mend, do.clean(f)), word="Unreadable")


# It waits for people


def _poisoned(f: Facts) -> Diagnosis | None:
    if not f.is_poisoned:
        return None
    ours = f.run if f.run and f.run.is_answer and f.run.status in (*STUCK_RUNS, RunStatus.CANCELLED) else None
    who = "the console" if ours else "somebody outside the console"
    told = f"An answer from {who} is stored with the question, and {_failed_with(f, ours)}"
    told += " Every later answer would fail in the same way."
    steps = [*do.need_worker(f), *do.ask_again_if(f)]
    if ours and ours.status in STUCK_RUNS:
        steps += [do.retry(ours, "if it was not the answer's fault"), do.give_up(ours)]
    steps += [do.decide(each) for each in f.asked if each.is_votable]
    return Diagnosis(Health.POISONED, "poisoned", told, tuple(steps))


def _failed_with(f: Facts, run: RunFacts | None) -> str:
    node = (run.node if run else "") or f.next_words
    return f"{node} failed with it: {run.error_words}" if run and run.error else f"{node} failed with it."


def _asked(f: Facts) -> Diagnosis | None:
    if not f.asked:
        return None
    first = next((each for each in f.asked if each.is_votable), f.asked[0])
    health = Health.BREAKPOINT if first.is_breakpoint else Health.WAITING
    told = _waits(f, first)
    if hindered := _graph_gone(f, told) or _node_gone(f, first, told):
        return hindered
    if not first.is_votable:
        told = f"{told} It cannot be decided: {ended(first.why_not)}"
        return Diagnosis(health, "unanswerable", told, (*do.ask_again_if(f), do.clean(f)))
    votable = [each for each in f.asked if each.is_votable][:_MOST_QUESTIONS]
    return Diagnosis(health, health.value, told, (*map(do.decide, votable), *do.need_worker(f)))


def _graph_gone(f: Facts, told: str) -> Diagnosis | None:
    if not f.is_graph_gone:
        return None
    told = f"{told} But {_no_worker(f)}: what is decided would not be carried out."
    return Diagnosis(Health.UNKNOWN, "graph_gone", told, (*do.need_worker(f), do.clean(f)), word="Graph missing")


def _node_gone(f: Facts, asked: Asked, told: str) -> Diagnosis | None:
    gone = [node for node in asked.inside[:1] or asked.next if f.nodes and node not in f.nodes]
    if not gone:
        return None
    told = f"{told} But the graph has no {listed(gone)} any more, so nothing would run."
    back = do.operate("code", f"Put {listed(gone)} back into {f.graph_id} and restart the worker")
    return Diagnosis(Health.UNKNOWN, "node_gone", told, (back, do.clean(f)), word="Node missing")


def _waits(f: Facts, asked: Asked) -> str:
    before = f"{listed(asked.next)} inside {' in '.join(asked.inside[::-1])}" if asked.inside else f.next_words
    place = f"at the breakpoint before {before}" if asked.is_breakpoint else f"for an answer to “{asked.title}”"
    number = len(f.asked) - 1 + f.not_listed
    others = f" and {number} more" if number else ""
    told = f"It has waited {f.ago(asked.created_at)} {place}{others}, for {do.voters(asked)}."
    if asked.claimed_by:
        told += f" {asked.claimed_by} is reviewing it."
    if asked.due_at and asked.due_at > f.now:
        told += f" It is due in {f.until(asked.due_at)}."
    elif asked.due_at:
        told += f" It is overdue by {f.ago(asked.due_at)}."
    return told


# It stopped


def _held(f: Facts) -> Diagnosis | None:
    run = f.run
    if run is None or run.status != RunStatus.HELD:
        return None
    retry = do.retry(run, "the node runs again from its top, so look first whether its effect happened")
    steps = [*do.need_worker(f), retry, *do.ask_again_if(f), do.give_up(run)]
    told = f"A person must say how to go on. {ended(run.problem or str(RunStatus.HELD.label))}"
    return Diagnosis(Health.CRASHED, "held", told, tuple(steps), word="Held")


def _failed(f: Facts) -> Diagnosis | None:
    run = f.run
    if run is None or run.status != RunStatus.FAILED:
        return None
    if run.error == "GraphMissing":
        told = f"{ended(run.problem)} The run stopped before it did anything."
        add_first = (do.add_graph(f), do.retry(run), do.give_up(run))
        return Diagnosis(Health.UNKNOWN, "graph_gone", told, add_first, word="Graph missing")
    if run.error == NODE_GONE:
        back = do.operate("code", f"Bring the nodes back into {f.graph_id} and restart the worker", "then retry")
        others = (do.retry(run, "once they are back"), do.give_up(run), do.fork(f), do.clean(f))
        return Diagnosis(Health.UNKNOWN, "node_gone", ended(run.problem), (back, *others), word="Node missing")
    if run.error in _UNREADABLE:
        told = f"The run stopped {f.ago(run.ended_at)} ago before it did anything. {ended(run.problem)}"
        mend = do.operate("code", "Mend what was stored, or the graph, and restart the worker", "then retry")
        others = (do.retry(run, "once it is mended"), do.fork(f), do.give_up(run), do.clean(f))
        return Diagnosis(Health.UNKNOWN, "unreadable", told, (mend, *others), word="Unreadable")
    told = f"{f'Node {run.node}' if run.node else 'The run'} failed {f.ago(run.ended_at)} ago: {run.error_words}"
    if f.published_at and run.ended_at and f.published_at > run.ended_at:
        told += " The graph's code was changed since: a retry runs the new code."
    retry = do.retry(run, "it goes on from its last checkpoint; mend what made it fail first")
    steps = (*do.need_worker(f), retry, *do.ask_again_if(f), do.give_up(run))
    return Diagnosis(Health.CRASHED, "failed", told, steps, word="Failed")


def _failed_outside(f: Facts) -> Diagnosis | None:
    if f.status != ThreadStatus.ERROR:
        return None
    told = f"{f.next_words} failed in a run outside the console: {ended(f.problem or 'no error is stored')}"
    go_on = do.operate("outside", "Have the agent go on where it runs", "with no input, as ainvoke(None) does")
    steps = (*do.ask_again_if(f), go_on, do.fork(f), do.clean(f))
    return Diagnosis(Health.CRASHED, "failed_outside", told, steps, word="Failed")


def _superseded(f: Facts) -> Diagnosis | None:
    run = f.run
    if run is not None and run.status == RunStatus.SUPERSEDED:
        told = f"Its last decision was not carried out. {ended(run.problem or str(RunStatus.SUPERSEDED.label))}"
    elif f.dropped:
        told = f"The agent moved on before anybody decided “{f.dropped}”: the question was dropped."
    else:
        return None
    steps = [
        AdvisedStep("history", "Look at the history for what the agent did instead", permission="view", who="everybody")
    ]
    if f.next:
        told += f" The thread stands before {f.next_words}."
        return Diagnosis(Health.SUPERSEDED, "superseded", told, (*do.ask_again_if(f), *steps, do.fork(f)))
    told += " The thread has reached its end since."
    return Diagnosis(Health.SUPERSEDED, "superseded", told, (*steps, do.start(f)))


def _stopped(f: Facts) -> Diagnosis | None:
    run = f.run
    if not f.next or run is None or run.status != RunStatus.CANCELLED:
        return None
    told = f"A person gave the run up before {f.next_words}. {ended(run.problem)}".strip()
    steps = (*do.ask_again_if(f), *do.go_on_if(f), do.start(f), do.fork(f))
    return Diagnosis(Health.UNKNOWN, "stopped", told, steps, word="Stopped")


def _ready(f: Facts) -> Diagnosis | None:
    if not f.next or f.status != ThreadStatus.IDLE:
        return None
    told = f"It stands before {f.next_words} and is ready to run: nothing has run since it was forked."
    return Diagnosis(Health.UNKNOWN, "ready", told, (*do.go_on_if(f), do.start(f)), word="Ready")


def _outside(f: Facts) -> Diagnosis | None:
    if not f.next:
        return None
    told = f"It has stood before {f.next_words} for {f.ago(f.updated_at)}, and no run of the console has it."
    is_fresh = f.updated_at is not None and (f.now - f.updated_at).total_seconds() < OUTSIDE_SECONDS
    look = do.operate("outside", "See whether the process that ran it lives, and have it go on")
    if is_fresh:
        told += " A program outside may be at work on it."
        wait = AdvisedStep("wait", "Wait", "it is read again when it moves")
        return Diagnosis(Health.RUNNING, "outside", told, (wait, look), is_moving=True, word="Runs outside")
    told += " Whatever ran it outside has probably died."
    return Diagnosis(Health.CRASHED, "outside", told, (look, do.fork(f), do.clean(f)), word="Stands outside")


_JUDGES: tuple[Callable[[Facts], Diagnosis | None], ...] = (
    _cleaned,
    _running,
    _lease_lost,
    _queued,
    _deleted,
    _moved,
    _ended_elsewhere,
    _unbound,
    _unread,
    _poisoned,
    _asked,
    _held,
    _failed,
    _failed_outside,
    _superseded,
    _stopped,
    _ready,
    _outside,
    _new,
    _done,
)


# What is said beside


def _notes(f: Facts, found: Diagnosis) -> tuple[list[str], list[AdvisedStep]]:
    """Add remarks that do not block the thread but matter to whoever continues it."""
    notes, steps = [], []
    if found.kind in ("cleaned", "new", "done"):
        return [], []
    if _is_changed(f):
        notes.append("The graph's code was changed since this was asked.")
        steps.append(do.operate("code", "Compare the code before it is decided", who="whoever decides"))
    if f.asked and f.problem:
        notes.append(f"It ran there before, without a decision, and failed: {ended(f.problem)}")
    if f.blocked:
        notes.append(f"Its state holds types that the graph does not allow ({listed(f.blocked)}): it cannot be edited.")
        allow = "then the state can be edited, and nodes get the types rather than bare data"
        steps.append(do.operate("types", "Allow them in langgraph.json and restart the worker", allow))
    if f.too_large:
        notes.append(f.too_large)
    if found.kind in ("breakpoint", "waiting") and not f.has_graph_worker:
        notes.append("No worker is alive: what is decided is carried out once one is.")
    return notes, steps


def _is_changed(f: Facts) -> bool:
    return any(each.code_digest not in ("", f.code_digest) for each in f.asked if f.code_digest)


def _facts(f: Facts) -> Iterator[tuple[str, str | int | datetime]]:
    run = f.run
    told: dict[str, str | int | datetime | None] = {"Worker": f.lease_worker, "Lease until": f.lease_until}
    if run and run.status in (RunStatus.QUEUED, RunStatus.RUNNING):
        told |= {"Node": run.node, "Node since": run.node_since, "Attempt": run.attempts}
        told |= {"Run since": run.created_at, "Started by": run.started_by, "Next attempt": run.retry_at}
    elif run and run.status in STUCK_RUNS:
        told |= {"Node": run.node, "Stopped": run.ended_at, "Attempts": run.attempts, "Started by": run.started_by}
    if f.asked:
        told |= {"Waits since": f.asked[0].created_at, "Due": f.asked[0].due_at, "Reserved by": f.asked[0].claimed_by}
    return ((name, value) for name, value in told.items() if value)


# Words


def _no_worker(f: Facts) -> str:
    gone = f"no worker has its graph {f.graph_id}, which is gone or renamed"
    return gone if f.is_graph_gone else "no worker is alive"


def _attempt(run: RunFacts) -> str:
    return f", attempt {run.attempts}" if run.attempts > 1 else ""
