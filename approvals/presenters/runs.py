"""A run for people, while it goes on and afterwards."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from approvals.enums import RunKind, RunStatus
from approvals.models import Graph, Run, RunLog

WORDS = {
    RunStatus.QUEUED: "Queued",
    RunStatus.RUNNING: "Running",
    RunStatus.PAUSED: "Stopped for people",
    RunStatus.FINISHED: "Done",
    RunStatus.FAILED: "Failed",
    RunStatus.HELD: "Held",
    RunStatus.SUPERSEDED: "Superseded",
    RunStatus.CANCELLED: "Given up",
}


MOST_STEPS = 50
"""Steps that are shown one by one. Of more, those of the same node in the same state are one line."""


@dataclass(frozen=True)
class StepShown:
    """A node of a run. `state` is `running`, `done`, `failed` or `next`; `times` is how many tasks it stands for."""

    node: str
    title: str
    state: str
    word: str
    seconds: str
    times: int = 1


@dataclass(frozen=True)
class LineShown:
    """A line of a run's log. `tone` is `bad`, `warn` or empty."""

    at: datetime
    source: str
    level: str
    text: str
    tone: str


@dataclass(frozen=True)
class LogShown:
    run_id: UUID
    thread_id: str
    kind: str
    created_at: datetime
    lines: list[LineShown]
    dropped: int


@dataclass(frozen=True)
class RunShown:
    id: UUID
    thread_id: str
    is_question: bool
    """It stopped over the answer to a question, which can be asked again."""
    word: str
    status: str
    sentence: str
    kind: str
    started_by: str
    created_at: datetime
    ended_at: datetime | None
    steps: list[StepShown]
    error: str
    problem: str
    interfered: list[str]
    """What others wrote to the thread beside it."""
    is_active: bool
    is_stuck: bool
    attempts: int
    has_log: bool


def run_of(run: Run, graph: Graph | None, *, upcoming: Iterable[str] = ()) -> RunShown:
    """`upcoming` are the nodes that wait to run, shown while none has begun."""
    titles = {node["id"]: node["title"] for node in graph.card["nodes"]} if graph else {}
    steps = [_step(step, titles) for step in run.steps] if len(run.steps) <= MOST_STEPS else _counted(run.steps, titles)
    if run.is_active and not steps:
        steps = [StepShown(node, titles.get(node, node), "next", "next", "") for node in upcoming]
    return RunShown(
        id=run.pk,
        thread_id=run.thread_id,
        is_question=run.is_stuck and bool(run.decision and run.decision.approval.interrupt_id),
        word=WORDS[RunStatus(run.status)],
        status=run.status,
        sentence=_sentence(run),
        kind=str(RunKind(run.kind).label),
        started_by=run.started_by,
        created_at=run.created_at,
        ended_at=run.ended_at,
        steps=steps,
        error=run.error,
        problem=run.problem,
        interfered=run.interfered,
        is_active=run.is_active,
        is_stuck=run.is_stuck,
        attempts=run.attempts,
        has_log=run.has_log,
    )


def log_of(log: RunLog) -> LogShown:
    """The log comes with its `run`."""
    lines = [_line(line) for line in log.lines]
    run = log.run
    return LogShown(run.pk, run.thread_id, str(RunKind(run.kind).label), run.created_at, lines, log.dropped)


def _line(line: Mapping[str, Any]) -> LineShown:
    is_error = line["level"] in ("ERROR", "CRITICAL") or line["source"] == "stderr"
    tone = "bad" if is_error else "warn" if line["level"] == "WARNING" else ""
    return LineShown(datetime.fromisoformat(line["at"]), line["source"], line["level"], line["text"], tone)


def _sentence(run: Run) -> str:
    is_copy = run.kind == RunKind.FORK and run.status == RunStatus.FINISHED and not run.steps
    return "Done: the copy is there." if is_copy else str(RunStatus(run.status).label)


def _counted(steps: Iterable[Mapping[str, Any]], titles: Mapping[str, str]) -> list[StepShown]:
    """Return a line for each node and state, in the order in which they began."""
    first: dict[tuple[str, str], StepShown] = {}
    times: Counter[tuple[str, str]] = Counter()
    for step in steps:
        key = (step["node"], str(step["state"]))
        times[key] += 1
        if key not in first:
            first[key] = _step(step, titles)
    return [replace(shown, times=times[key], seconds="") if times[key] > 1 else shown for key, shown in first.items()]


def _step(step: Mapping[str, Any], titles: Mapping[str, str]) -> StepShown:
    state = str(step["state"])
    word = {"running": "running", "done": "done", "failed": "failed"}.get(state, state)
    return StepShown(step["node"], titles.get(step["node"], step["node"]), state, word, _seconds(step))


def _seconds(step: Mapping[str, Any]) -> str:
    if "ended_at" not in step:
        return ""
    took = datetime.fromisoformat(step["ended_at"]) - datetime.fromisoformat(step["started_at"])
    return f"{took.total_seconds():.1f} s"


def node_states(run: Run | None) -> dict[str, str]:
    """Return the state of each node of the run, for the drawing."""
    return {step["node"]: step["state"] for step in run.steps} if run else {}
