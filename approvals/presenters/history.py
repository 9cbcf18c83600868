"""The history of a thread for people: what ran, who caused it and why, and the path through the graph."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from agentcore.plain.timeline import Moment
from approvals.domain.run_metadata import RUN_KEY, decision_of
from approvals.enums import VERDICT_WORDS, Verdict
from approvals.models import Graph, Thread
from approvals.presenters.graphs import END, START, Drawing, drawing_of

if TYPE_CHECKING:
    from approvals.actions.threads.history import HistoryPage

_OUTSIDE = "Outside Countersign"
_LONGEST_WHY = 200


@dataclass(frozen=True)
class Cause:
    """Who caused a checkpoint, and why. `approval_id` is what was decided, `entry` the number of the log entry."""

    text: str
    why: str = ""
    approval_id: Any = None
    entry: int | None = None


@dataclass(frozen=True)
class Point:
    """One checkpoint of the timeline. `what` says what led to it; `upcoming` what would run next."""

    id: str
    step: str
    what: str
    source: str
    upcoming: str
    created_at: datetime | None
    cause: Cause
    forks: list[Thread]
    is_head: bool
    is_origin: bool
    """The fork was made here: the other thread has this checkpoint too."""


def points_of(page: "HistoryPage", thread: Thread, graph: Graph | None) -> list[Point]:
    return [point_of(moment, page, thread, graph) for moment in page.moments]


def point_of(moment: Moment, page: "HistoryPage", thread: Thread, graph: Graph | None) -> Point:
    is_head = moment.checkpoint_id == thread.checkpoint_id
    return Point(
        id=moment.checkpoint_id,
        step="?" if moment.step is None else str(moment.step),
        what=_what(moment, graph),
        source=moment.source,
        upcoming=_titles(thread.next if is_head else moment.upcoming, graph),
        created_at=_time(moment.created_at),
        cause=_cause(moment, page),
        forks=page.forks.get(moment.checkpoint_id, []),
        is_head=is_head,
        is_origin=bool(thread.forked_at) and moment.checkpoint_id == thread.forked_at,
    )


def _time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _what(moment: Moment, graph: Graph | None) -> str:
    nodes = _titles(moment.ran, graph)
    match moment.source:
        case "input":
            return "Input"
        case "update":
            return f"Edit, as if {nodes} had run" if nodes else "Edit"
        case "fork":
            return "Back to an earlier step"
    if moment.is_large:
        return "Too large to be read here"
    if moment.ran == (START,):
        return "Start"
    return nodes or ("Tasks in parallel" if moment.parent_id else "Step")


def _titles(nodes: Iterable[str], graph: Graph | None) -> str:
    return ", ".join(title for node in nodes if (title := _title(node, graph)))


def _title(node: str, graph: Graph | None) -> str:
    if node == START:
        return "Start"
    return graph.node_title(node) if graph else node


def _cause(moment: Moment, page: "HistoryPage") -> Cause:
    run = page.runs.get(str(moment.metadata.get(RUN_KEY)))
    if run is None:
        return Cause("A run that is no longer known" if moment.metadata.get(RUN_KEY) else _OUTSIDE)
    if run["decision_id"] and str(run["decision_id"]) == decision_of(moment):
        is_edit = moment.source == "update" and run["decision__verdict"] == Verdict.APPROVE
        told = VERDICT_WORDS["edit" if is_edit else run["decision__verdict"]].decided
        return Cause(
            f"{told} by {run['decision__decided_by']}",
            _short(run["decision__comment"]),
            run["decision__approval_id"],
            page.entries.get(str(run["decision_id"])),
        )
    words = {"fork": "Forked by {}", "replay": "Replayed by {}", "repair": "Asked again by {}"}
    told = words.get(run["kind"], "Input from {}" if moment.source == "input" else "Started by {}")
    return Cause(told.format(run["started_by"]), entry=page.entries.get(str(run["pk"])))


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_WHY else f"{text[: _LONGEST_WHY - 1]}…"


def drawing_at(moments: Sequence[Moment], thread: Thread, graph: Graph | None) -> Drawing | None:
    """Draw the graph with the path to the first of these checkpoints, which come newest first."""
    if graph is None or not moments:
        return None
    here = moments[0]
    waiting = thread.next if here.checkpoint_id == thread.checkpoint_id else here.upcoming
    done = dict.fromkeys(here.has_run, "done")
    return drawing_of(graph.card, here=waiting, states=done, taken=path_taken(moments, graph.card, waiting))


def path_taken(moments: Sequence[Moment], card: Mapping[str, Any], waiting: Iterable[str]) -> set[tuple[str, str]]:
    """Return the edges that were certainly taken on the way to the first checkpoint and its waiting nodes.

    Certain are edges between one step and the next, and the only edge that leads to a node.
    """
    here = moments[0]
    ran = set(here.has_run) | {START}
    edges = {(edge["source"], edge["target"]): bool(edge["conditional"]) for edge in card["edges"]}
    steps = {moment.checkpoint_id: moment for moment in moments}
    walked = {
        (source, node)
        for moment in moments
        for node in moment.ran
        for source in (steps[moment.parent_id].ran if moment.parent_id in steps else ())
    }
    taken = {edge for edge in edges if edge in walked}
    for (source, target), is_choice in edges.items():
        others = [a for a, b in edges if b == target and a in ran and a != source]
        if source in ran and target in ran and (not is_choice or not others):
            taken.add((source, target))
    return taken | {(node, target) for node in here.ran for target in list(waiting) or [END] if (node, target) in edges}
