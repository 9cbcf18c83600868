"""Beginning a run, and handing people's answer to a graph at a breakpoint; both safe to do again after a crash."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from langgraph.graph import END
from langgraph.types import Command

from agentcore import state_edit
from agentcore.cards import approval_metadata
from agentcore.errors import InvalidEdit
from agentcore.failpoints import reach
from agentcore.registry import Graph
from agentcore.runner import OnStep, outcome, run_until_pause
from agentcore.threads import Saver, config_for, snapshot
from agentcore.types import Conflict, Failed, Finished, Outcome, Paused, Snapshot

NOT_AS_SHOWN = "The edit led to something else than the preview showed, so nothing was run. Look at the new question."


@dataclass(frozen=True)
class Answer:
    """What was decided at a breakpoint. `result_digest` names what the edit must lead to, if that was shown."""

    verdict: str
    edits: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    as_node: str | None = None
    reason: str = ""
    result_digest: str | None = None


@dataclass(frozen=True)
class _At:
    """Where and as whom a resume works."""

    graph: Graph
    saver: Saver
    thread_id: str
    metadata: Mapping[str, Any]
    before_entering: Callable[[], Awaitable[None]]
    on_step: OnStep


async def start(
    graph: Graph,
    saver: Saver,
    *,
    thread_id: str,
    input: Mapping[str, Any],
    metadata: Mapping[str, Any],
    run_key: str,
    before_entering: Callable[[], Awaitable[None]],
    on_step: OnStep,
) -> Outcome:
    """Give the thread new input; when this very run had begun before a crash, go on from its last checkpoint."""
    at = _At(graph, saver, thread_id, metadata, before_entering, on_step)
    here = await snapshot(graph, saver, thread_id)
    if here is None or here.metadata.get(run_key) != metadata[run_key]:
        return await _go_on(at, input, here.checkpoint_id if here else None)
    if here.is_paused or not here.waiting:
        return await outcome(graph, saver, thread_id)
    return await _go_on(at, None, here.checkpoint_id)


async def resume(
    graph: Graph,
    saver: Saver,
    *,
    thread_id: str,
    expected_head: str,
    answer: Answer,
    metadata: Mapping[str, Any],
    run_key: str,
    before_entering: Callable[[], Awaitable[None]],
    on_step: OnStep,
) -> Outcome:
    """Apply the edit, if there is one, and go on, end or skip; Conflict when the thread is not at `expected_head`.

    `before_entering` is awaited before the first node can run. `metadata[run_key]` marks our checkpoints: an edit of
    this very run that is already there (the worker died after it) is not applied again.
    """
    at = _At(graph, saver, thread_id, metadata, before_entering, on_step)
    here = await snapshot(graph, saver, thread_id)
    is_edited = here is not None and _is_our_edit(here, expected_head, metadata, run_key)
    if here is None or (here.checkpoint_id != expected_head and not is_edited):
        return Conflict(expected=expected_head, found=here.checkpoint_id if here else None)
    try:
        if answer.edits and not is_edited:
            state_edit.check_nothing_blocked(here)
        return await _VERDICTS[answer.verdict](at, here, answer, is_edited)
    except InvalidEdit as error:
        return Failed("InvalidEdit", str(error))


def _is_our_edit(here: Snapshot, expected_head: str, metadata: Mapping[str, Any], run_key: str) -> bool:
    is_ours = here.metadata.get(run_key) == metadata[run_key]
    is_expected = expected_head in (here.parent_checkpoint_id, here.checkpoint_id)
    return is_ours and here.source == "update" and is_expected


async def _approve(at: _At, here: Snapshot, answer: Answer, is_edited: bool) -> Outcome:
    if answer.edits and not is_edited:
        here = await _edited(at, answer.edits, answer.as_node)
    if answer.result_digest and state_edit.result_digest(here) != answer.result_digest:
        return Conflict(answer.result_digest, state_edit.result_digest(here), NOT_AS_SHOWN)
    return await _go_on(at, None, here.checkpoint_id)


async def _reject(at: _At, here: Snapshot, answer: Answer, is_edited: bool) -> Outcome:
    """End the thread, or go where the node's metadata says: `{"reject": {"goto": node, "reason_to": channel}}`."""
    at_gate = await snapshot(at.graph, at.saver, at.thread_id, here.parent_checkpoint_id) if is_edited else here
    route = _route_of_rejection(at.graph, at_gate.waiting if at_gate else ())
    if not is_edited:
        # First end it: Command(goto=...) alone would run the gated node beside the one it goes to.
        here = await _edited(at, None, END)
    if route is None:
        return await outcome(at.graph, at.saver, at.thread_id)
    told = {route["reason_to"]: answer.reason} if "reason_to" in route else None
    return await _go_on(at, Command(goto=route["goto"], update=told), here.checkpoint_id)


def _route_of_rejection(graph: Graph, nodes: Iterable[str]) -> dict[str, Any] | None:
    routes = [approval_metadata(graph, node).get("reject") for node in nodes]
    return next((route for route in routes if isinstance(route, dict) and "goto" in route), None)


async def _skip(at: _At, here: Snapshot, answer: Answer, is_edited: bool) -> Outcome:
    """Count the node as done with the edits as its output; a gate behind it holds as ever."""
    if not is_edited:
        here = await _edited(at, answer.edits, answer.as_node or here.waiting[0])
    # An `after` gate seen here is the one just answered: no node has run since, and LangGraph would not stop again.
    if here.interrupts or (here.gate and here.gate.when == "before"):
        return Paused(here)
    return await _go_on(at, None, here.checkpoint_id) if here.waiting else Finished(here)


async def _edited(at: _At, edits: state_edit.Edits | None, as_node: str | None) -> Snapshot:
    await state_edit.apply(at.graph, at.saver, _config(at), edits, as_node)
    reach("resume.edited")
    here = await snapshot(at.graph, at.saver, at.thread_id)
    assert here is not None
    return here


async def _go_on(at: _At, input: Mapping[str, Any] | Command[Any] | None, expected_head: str | None) -> Outcome:
    await at.before_entering()
    return await run_until_pause(
        at.graph,
        at.saver,
        thread_id=at.thread_id,
        input=input,
        expected_head=expected_head,
        metadata=at.metadata,
        on_step=at.on_step,
    )


def _config(at: _At) -> Any:
    return config_for(at.thread_id) | {"metadata": dict(at.metadata)}


_VERDICTS = {"approve": _approve, "reject": _reject, "skip": _skip}
