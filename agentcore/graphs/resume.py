"""Start a run, and give people's decisions to a graph. Both can be repeated after a crash.

At a breakpoint the decision is to go on, to edit first, to skip or to end. At an `interrupt()` it is a value keyed by
the question's id, so that it cannot answer another question.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from langgraph.graph import END
from langgraph.types import Command

from agentcore.dialects.hitl_batched import choice_in
from agentcore.dialects.unchanged import as_asked
from agentcore.graphs import mending, per_task, questions, state_edits
from agentcore.graphs.cards import approval_metadata
from agentcore.graphs.registry import CompiledGraph
from agentcore.graphs.runs import UNFINISHED, RunContext, outcome, run_until_pause
from agentcore.graphs.snapshots import config_for, read_pending_tasks, snapshot, subgraph_snapshot
from agentcore.graphs.subgraphs import NOTHING_HELD, Hold, graph_at
from agentcore.plain import bound_bytes, masks
from agentcore.plain.edits import Edits
from agentcore.plain.errors import CannotEdit
from agentcore.plain.json import as_in, canonical, payload, untagged
from agentcore.plain.namespaces import path_of
from agentcore.plain.types import NODE_GONE, NOTHING_RAN, Failed, Finished, Mismatch, Outcome, Paused, Snapshot, Step
from agentcore.testing.failpoints import is_off, reach

QUESTION_GONE = "This question is no longer asked, so the answer was not given. Look at what the thread asks now."
INVALID_EDIT = "InvalidEdit"
"""How a run failed whose edit the graph would not take."""
NOTHING_RAN_TOLD = (
    "The graph ended at once: no node began, and the thread stands where it stood. Nothing was carried out, so it is"
    " asked anew. Was the thread written by another graph, or another version of LangGraph?"
)
NODE_GONE_TOLD = (
    "The graph {}. What was decided was not carried out, and the decision is kept. Bring the code back that asked for"
    " it, then retry the run; or give the run up, and fork or force-clean the thread."
)
NOT_AS_SHOWN = (
    "Held back: the edit led to something else than the preview showed, so nothing was run. The question is asked anew."
)


@dataclass(frozen=True)
class Answer:
    """The decision. `result_digest` names what the edit must lead to, if that was shown.

    With `interrupt_id`, `answer` is the value for that question, whatever the verdict.
    """

    verdict: str
    edits: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    as_node: str | None = None
    reason: str = ""
    result_digest: str | None = None
    interrupt_id: str = ""
    answer: Any = None


@dataclass(frozen=True)
class _At(RunContext):
    """Where in its thread a run is at work."""

    namespace: str = ""
    """Of the subgraph that stands at the breakpoint."""
    head: str = ""
    """The thread's newest checkpoint, where it is a subgraph that is edited."""
    hold: Hold = NOTHING_HELD
    decided: Answer | None = None
    """What is carried out, where it is a decision."""
    compared: str = ""
    """The checkpoint where `changes` has found nothing a moment ago, and nothing was written since."""


def _at(run: RunContext, **place: Any) -> _At:
    return _At(**vars(run), **place)


async def start(run: RunContext, input: Any) -> Outcome:
    """Give the thread new input, anything but None. If this run began before a crash, go on from its last checkpoint.

    Without input the thread goes on from where it stands, and passes no gate and no question.
    """
    here = await snapshot(run.graph, run.saver, run.thread_id)
    if input is not None and (here is None or not _is_ours(run, here)):
        return await _go_on(_at(run), input, here.checkpoint_id if here else None)
    if here is None or here.is_paused and not here.running or not here.waiting:
        return await outcome(run)
    return await _go_on(_at(run, hold=_hold(here)), None, here.checkpoint_id)


def _hold(here: Snapshot, *, but: str = "") -> Hold:
    """Hold every breakpoint inside subgraphs, except the decided one."""
    return Hold((inner.checkpoint_ns for inner in here.inner if inner.checkpoint_ns != but), here.unseen)


async def resume(
    run: RunContext, answer: Answer, *, expected_head: str, namespace: str = "", shown: Collection[str] = ()
) -> Outcome:
    """Apply the edit, if there is one, and go on, end or skip; Mismatch when the thread is not at `expected_head`.

    With `namespace` it is the subgraph kept there that stands at `expected_head`. Other breakpoints inside subgraphs
    stay where they are. An edit of this very run that is already there (the worker died after it) is not applied again.
    Where the graph would not run the nodes that were `shown`, because its code is another one now, nothing is run.
    """
    head = await snapshot(run.graph, run.saver, run.thread_id, is_to_ask=False)
    if head is None:
        return Mismatch(expected=expected_head, found=None)
    hold = _hold(head, but=namespace)
    at = _at(run, namespace=namespace, head=head.checkpoint_id, hold=hold, decided=answer)
    if namespace and _is_our_end(run, head):
        return await outcome(run)
    if why := _why_no_graph(run.graph, namespace):
        return Failed(NODE_GONE, NODE_GONE_TOLD.format(why))
    here = await subgraph_snapshot(run.graph, run.saver, head, namespace)
    if namespace and run.is_retried and here is not None and _is_past(run, here, expected_head):
        return await _go_on_inside(replace(at, namespace="", hold=_hold(head)), head)
    is_edited = here is not None and _is_our_edit(run, here, expected_head)
    if here is None or (here.checkpoint_id != expected_head and not is_edited):
        return Mismatch(expected=expected_head, found=here.checkpoint_id if here else None)
    if conflict := await _changed(at, here.checkpoint_id):  # first: a node that somebody else ran is not gone
        return conflict
    if not is_edited and (why := _why_other_nodes(run, here, answer, shown)):
        return Failed(NODE_GONE, NODE_GONE_TOLD.format(why))
    at = replace(at, compared=here.checkpoint_id)
    try:
        if answer.edits and not is_edited:
            state_edits.check_nothing_blocked(here)
            if answer.verdict == "approve" and not answer.interrupt_id:
                state_edits.check_nothing_sent(here)
            answer = replace(answer, edits=_in_order(masks.restored(answer.edits, here.values, here.secrets), here))
        if answer.interrupt_id.startswith(questions.RAISED):
            return await _answer_raised(at, here, answer, is_edited)
        if answer.interrupt_id:
            return await _respond(at, here, answer)
        return await _VERDICTS[answer.verdict](at, here, answer, is_edited)
    except CannotEdit as error:
        return Failed(INVALID_EDIT, str(error))


def _why_no_graph(graph: CompiledGraph, namespace: str) -> str:
    """Say that the graph has no such subgraph any more, where one is given."""
    return "" if graph_at(graph, namespace) else f"has no subgraph {' in '.join(path_of(namespace)[::-1])} any more"


def _why_other_nodes(run: RunContext, here: Snapshot, answer: Answer, shown: Collection[str]) -> str:
    """Say which of the nodes that were shown the graph would not run, or which others. LangGraph itself runs nothing
    then and calls that the end.

    A rejection needs no node: it ends the thread. Of a run that begins again, nodes may have ended before.
    """
    inner, path = graph_at(run.graph, here.checkpoint_ns), path_of(here.checkpoint_ns)
    is_after_all = bool(path) and not here.waiting and set(shown) == {path[-1]}  # a subgraph, behind its last node
    if answer.interrupt_id:
        return "" if here.waiting or not shown else f"would run nothing now, not {', '.join(shown)}"
    if answer.verdict == "reject" or not shown or inner is None or is_after_all:
        return ""
    if gone := sorted(set(shown) - set(inner.nodes)):
        return f"has no node {', '.join(gone)} any more"
    if run.is_retried or (set(shown) <= set(here.waiting) and set(here.next) <= set(shown)):
        return ""
    return f"would run {', '.join(here.next) or 'nothing'} now, not {', '.join(shown)}"


def _in_order(edits: Edits, here: Snapshot) -> Edits:
    """Return the edits with the keys of their objects in the order that the state has them."""
    return {name: {**edit, "value": as_in(edit["value"], here.values.get(name))} for name, edit in edits.items()}


def _is_past(run: RunContext, here: Snapshot, expected_head: str) -> bool:
    """Return whether this run has carried its answer out inside the subgraph, and has written there since."""
    return _is_ours(run, here) and here.source != "update" and here.checkpoint_id != expected_head


async def _go_on_inside(at: _At, head: Snapshot) -> Outcome:
    """Go on from where this run stopped in a subgraph, and pass no breakpoint."""
    if head.is_paused and not head.running:
        return await outcome(at)
    if conflict := await _changed(at, head.checkpoint_id):
        return conflict
    return await _go_on(at, None, head.checkpoint_id)


async def _changed(at: _At, checkpoint_id: str) -> Mismatch | None:
    changes = await at.changes(checkpoint_id) if at.changes else []
    if not changes:
        return None
    reason = bound_bytes.BEHIND if bound_bytes.why(changes) == bound_bytes.BEHIND else Mismatch.reason
    return Mismatch(checkpoint_id, checkpoint_id, reason, tuple(changes))


def _is_our_end(run: RunContext, head: Snapshot) -> bool:
    """Return whether this run has ended the whole thread, as a rejection inside a subgraph does."""
    return head.source == "update" and _is_ours(run, head)


def _is_our_edit(run: RunContext, here: Snapshot, expected_head: str) -> bool:
    is_expected = expected_head in (here.parent_checkpoint_id, here.checkpoint_id)
    return _is_ours(run, here) and here.source == "update" and is_expected


def _is_ours(run: RunContext, here: Snapshot) -> bool:
    """True for a checkpoint that this run wrote."""
    return bool(here.metadata.get(run.run_key) == run.metadata[run.run_key])


async def _approve(at: _At, here: Snapshot, answer: Answer, is_edited: bool) -> Outcome:
    if answer.edits and not is_edited:
        here = await _edited(at, answer.edits, answer.as_node)
    if answer.result_digest and state_edits.result_digest(here) != answer.result_digest:
        return Mismatch(answer.result_digest, state_edits.result_digest(here), NOT_AS_SHOWN)
    if answer.edits and here.gate and at.may_pass and not await at.may_pass(here):
        return Paused(here)
    return await _go_on(at, None, here.checkpoint_id)


async def _respond(at: _At, here: Snapshot, answer: Answer) -> Outcome:
    """Give the answer to its question. One that is stored already, because the node failed with it, is given again."""
    answer = replace(answer, answer=await _as_asked(at, here, answer))
    if answer.interrupt_id in here.answers:
        is_same = _is_same(here.answers[answer.interrupt_id], answer.answer)
        return await _go_on(at, None, here.checkpoint_id) if is_same else _gone(here)
    if answer.interrupt_id not in {questions.id for questions in here.interrupts}:
        was_given = at.is_retried and await _was_given(at, here, answer)
        return await _go_on(at, None, here.checkpoint_id) if was_given else _gone(here)
    if not answer.edits:
        return await _go_on(at, Command(resume={answer.interrupt_id: answer.answer}), here.checkpoint_id)
    here_config = config_for(at.thread_id)
    writes = await state_edits.writes_of(at.graph, at.saver, here_config, answer.edits)
    update = questions.signed(writes, at.run)
    if at.is_retried and await questions.is_signed(at.saver, here_config, at.run):
        update = []  # this run's own, from before a crash
    else:
        await state_edits.check_not_edited_already(at.saver, here_config, answer.edits)
    if update and answer.result_digest:
        found = await state_edits.preview(
            at.graph, at.saver, config_for(at.thread_id, here.checkpoint_id), answer.edits
        )
        if found.digest != answer.result_digest:
            return Mismatch(answer.result_digest, found.digest, NOT_AS_SHOWN)
    return await _go_on(at, Command(resume={answer.interrupt_id: answer.answer}, update=update), here.checkpoint_id)


def _is_same(stored: Any, given: Any) -> bool:
    """Compare a stored answer with ours. What nobody changed in it may be an object of the agent."""
    return canonical(untagged(stored)) == canonical(payload(given))


async def _as_asked(at: _At, here: Snapshot, answer: Answer) -> Any:
    """Return the answer with what nobody changed as the agent asked it."""
    asked = next((each for each in here.interrupts if each.id == answer.interrupt_id), None)
    if asked is None:
        return answer.answer
    value = asked.value
    if asked.has_objects:
        places = await read_pending_tasks(at.graph, at.saver, config_for(at.thread_id))
        found = [each.value for place in places for each in place.task.interrupts if each.id == asked.id]
        value = found[0] if found else value
    return as_asked(answer.answer, value)


async def _answer_raised(at: _At, here: Snapshot, answer: Answer, is_edited: bool) -> Outcome:
    """Run the node that raised the question again, after the edit; or end the thread."""
    is_asked = any(each.id == answer.interrupt_id for each in here.interrupts)
    if not is_asked and not is_edited and not (at.is_retried and here.waiting and answer.verdict == "approve"):
        return _gone(here)
    if answer.verdict == "reject":
        return await _reject(at, here, answer, is_edited)
    if is_edited:
        await mending.carry_over(at.graph, at.saver, config_for(at.thread_id))
        at = replace(at, compared="")
    elif answer.edits:
        if answer.result_digest:
            place = config_for(at.thread_id, here.checkpoint_id)
            found = await state_edits.preview(at.graph, at.saver, place, answer.edits)
            if found.digest != answer.result_digest:
                return Mismatch(answer.result_digest, found.digest, NOT_AS_SHOWN)
        writes = await state_edits.writes_of(at.graph, at.saver, config_for(at.thread_id), answer.edits)
        await mending.mend(at.graph, at.saver, _config(at, namespace=""), writes)
        here = await _after_edit(at)
    return await _go_on(at, None, here.checkpoint_id)


async def _was_given(at: _At, here: Snapshot, answer: Answer) -> bool:
    """Return whether the node has ended with this very answer, while its step is not over."""
    given = await questions.answer_of_ended(at.graph, at.saver, config_for(at.thread_id), answer.interrupt_id)
    if given:
        return _is_same(given[0], answer.answer)
    # LangGraph keeps the first answer of a node, not the last. If nothing else waits, no other answer came in between.
    return bool(here.waiting) and not here.interrupts


def _gone(here: Snapshot) -> Mismatch:
    return Mismatch(here.checkpoint_id, here.checkpoint_id, QUESTION_GONE)


async def _reject(at: _At, here: Snapshot, answer: Answer, is_edited: bool) -> Outcome:
    """End the thread, or go where the node's metadata says: `{"reject": {"goto": node, "reason_to": channel}}`."""
    at_gate = await _before(at, here) if is_edited else here
    route = _route_of_rejection(at.graph, at_gate) if at_gate else None
    if not is_edited and (route or not at.namespace):
        # First end it: Command(goto=...) alone would run the gated node beside the one it goes to.
        here = await _edited(at, None, END)
    return await _end_or_go(at, here, route, answer.reason)


async def _end_or_go(at: _At, here: Snapshot, route: Mapping[str, Any] | None, reason: str) -> Outcome:
    """End the thread, or go to the node that is named for rejections, when nothing else waits."""
    if route is None:
        if at.namespace:
            await state_edits.apply(at.graph, at.saver, _config(at, namespace=""), None, END)
        return await outcome(at)
    told = {route["reason_to"]: reason} if "reason_to" in route else None
    if at.namespace:
        await questions.send_on(
            at.saver, config_for(at.thread_id, here.checkpoint_id, at.namespace), route["goto"], told
        )
        return await _go_on(at, None, here.checkpoint_id)
    return await _go_on(at, Command(goto=route["goto"], update=told), here.checkpoint_id)


async def _before(at: _At, here: Snapshot) -> Snapshot | None:
    """Return the checkpoint that an edit was made from."""
    return await snapshot(at.graph, at.saver, at.thread_id, here.parent_checkpoint_id, namespace=at.namespace)


def _route_of_rejection(graph: CompiledGraph, here: Snapshot) -> dict[str, Any] | None:
    inner = graph_at(graph, here.checkpoint_ns)
    routes = [approval_metadata(inner, node).get("reject") for node in here.waiting] if inner else []
    return next((route for route in routes if isinstance(route, dict) and "goto" in route), None)


async def _decide_each(at: _At, here: Snapshot, answer: Answer, is_edited: bool) -> Outcome:
    """Decide each task of the gate by itself. If none is left, end as a rejection does."""
    at_gate = await _before(at, here) if is_edited else here
    inner = graph_at(at.graph, at.namespace)
    if at_gate is None or at_gate.gate is None or inner is None:
        return _gone(here)
    choices = [choice_in(each) for each in answer.answer["decisions"]]
    if not is_edited:
        state_edits.check_nothing_blocked(here)
        await per_task.write(inner, at.saver, _config(at, namespace=at.namespace), at_gate, choices)
        here = await _after_edit(at)
    if answer.result_digest and state_edits.result_digest(here) != answer.result_digest:
        return Mismatch(answer.result_digest, state_edits.result_digest(here), NOT_AS_SHOWN)
    if any(choice.verdict != "reject" for choice in choices):
        return await _go_on(at, None, here.checkpoint_id)
    told = "\n".join(filter(None, [answer.reason, *(choice.message for choice in choices)]))
    return await _end_or_go(at, here, _route_of_rejection(at.graph, at_gate), told)


async def _skip(at: _At, here: Snapshot, answer: Answer, is_edited: bool) -> Outcome:
    """Count the node as done with the edits as its output. A gate behind it still holds."""
    if not is_edited:
        here = await _edited(at, answer.edits, answer.as_node or here.waiting[0])
    if answer.result_digest and state_edits.result_digest(here) != answer.result_digest:
        return Mismatch(answer.result_digest, state_edits.result_digest(here), NOT_AS_SHOWN)
    # An `after` gate seen here is the one just answered: no node has run since, and LangGraph would not stop again.
    if here.interrupts or (here.gate and here.gate.when == "before"):
        return Paused(here)
    return await _go_on(at, None, here.checkpoint_id) if here.waiting or at.namespace else Finished(here)


async def _edited(at: _At, edits: Edits | None, as_node: str | None) -> Snapshot:
    await state_edits.apply(at.graph, at.saver, _config(at, namespace=at.namespace), edits, as_node)
    return await _after_edit(at)


async def _after_edit(at: _At) -> Snapshot:
    reach("resume.edited")
    here = await snapshot(at.graph, at.saver, at.thread_id, namespace=at.namespace, is_to_ask=False)
    assert here is not None
    return here


async def _go_on(at: _At, input: Any, expected_head: str | None) -> Outcome:
    if expected_head and expected_head != at.compared and (conflict := await _changed(at, expected_head)):
        return conflict
    begun: list[Step] = []

    async def on_step(step: Step) -> None:
        begun.append(step)
        await at.on_step(step)

    await at.before_entering()
    head = at.head if at.namespace else expected_head
    came = await run_until_pause(replace(at, on_step=on_step), input, expected_head=head, hold=at.hold)
    if at.decided and not begun and await _is_untouched(at, came, at.decided, head):
        return Failed(NOTHING_RAN, NOTHING_RAN_TOLD)
    return came


async def _is_untouched(at: _At, came: Outcome, decided: Answer, head: str | None) -> bool:
    """Return whether the graph left the thread unchanged: no node began, no checkpoint came, and the question still
    waits.
    """
    if isinstance(came, Mismatch) or isinstance(came, Failed) and came.error != UNFINISHED or is_off("nothing_ran"):
        return False
    here = await snapshot(at.graph, at.saver, at.thread_id) if isinstance(came, Failed) else came.snapshot
    if here is None or here.checkpoint_id != head or not here.waiting:
        return False
    waits = {each.id for each in here.interrupts} - here.answers.keys()
    return decided.interrupt_id in waits if decided.interrupt_id else True


def _config(at: _At, *, namespace: str) -> Any:
    return config_for(at.thread_id, namespace=namespace) | {"metadata": dict(at.metadata)}


_VERDICTS = {"approve": _approve, "reject": _reject, "skip": _skip, "respond": _decide_each}


async def ask_again(run: RunContext) -> Outcome:
    """Ask the waiting questions anew: remove the answer that a node failed with. Runs nothing."""
    places = await read_pending_tasks(run.graph, run.saver, config_for(run.thread_id))
    await questions.take_back(run.saver, places)
    return await outcome(run)
