"""Convert snapshots into questions for people, and people's choices into the answer that a graph takes.

Each dialect of `interrupt()` is a module with three functions. The first dialect that recognises a payload reads it.

* `read(pending, tools) -> Asked | None`: the question, and the JSON Schema of every allowed answer;
* `write(question, choices) -> answer`: the answer for one choice an action, in the dialect's format;
* `choices_in(question, answer) -> [Choice]`: the reverse.

`faults_in` checks an answer against the schema alone, for all dialects. The resume is keyed by the interrupt's id.
Breakpoints have no payload: `breakpoint.read`. They take an answer only where several tasks wait.

To add a dialect, copy `any_value.py` and name it in `DIALECTS`, before `any_value`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

from agentcore.dialects import (
    any_value,
    breakpoint,
    hitl_batched,
    hitl_per_call,
    legacy,
    node_interrupt,
    response_schema,
)
from agentcore.dialects.breakpoint import last_messages
from agentcore.dialects.common import AskedQuestion, GraphFacts
from agentcore.plain import gist, schemas
from agentcore.plain.errors import Fault, UnreadableThread
from agentcore.plain.json import canonical
from agentcore.plain.masks import hidden
from agentcore.plain.types import Action, Choice, Gist, Pause, PendingInterrupt, Question, Snapshot

DIALECTS: dict[str, ModuleType] = {
    "raised": node_interrupt,
    "hitl_batched": hitl_batched,
    "hitl_per_call": hitl_per_call,
    "legacy": legacy,
    "schema": response_schema,
    "plain": any_value,
}
_WRITERS = DIALECTS | {"breakpoint": breakpoint}
LONGEST_ANSWER = 1_000_000  # characters of JSON

POISONED = (
    "An answer is stored here that the node failed with. It would be given that one again, whatever is answered now:"
    " have the question asked again first."
)
STEP_FAILED = (
    "Another question of the same step has an answer that its node failed with, and would fail again now."
    " Retry it, or have it asked again, first."
)


def read(graph: GraphFacts, snapshot: Snapshot) -> list[Pause]:
    """Return one pause for each question that the thread waits on, without secrets; empty if it waits for nobody.

    Raises UnreadableThread if the author's metadata or the agent's payload cannot be shown.
    """
    snapshot = hidden(snapshot)
    try:
        if snapshot.gate:
            return _at_gate(graph, snapshot)
        is_failed = any(pending.is_poisoned for pending in snapshot.interrupts)
        asked = [_pause(graph, snapshot, pending, is_failed=is_failed) for pending in snapshot.interrupts]
        return asked + [pause for inner in snapshot.inner for pause in _at_gate(graph, hidden(inner))]
    except Exception as error:
        nodes = ", ".join(snapshot.next)
        raise UnreadableThread(
            f"The question at {nodes} cannot be read: {type(error).__name__}. Look at the node's approval metadata."
        ) from error


def _at_gate(graph: GraphFacts, snapshot: Snapshot) -> list[Pause]:
    """Read a breakpoint with the graph that stopped there, which may be a subgraph of `graph`."""
    path = snapshot.path
    pauses = breakpoint.read(graph.at(snapshot.checkpoint_ns), snapshot)
    if path and not snapshot.waiting:  # nothing can be skipped where a subgraph has stopped after its last node
        pauses = [replace(pause, next=path[-1:], allowed_verdicts=("approve", "reject")) for pause in pauses]
    return [
        replace(pause, checkpoint_ns=snapshot.checkpoint_ns, request={**pause.request, "path": list(path)})
        for pause in pauses
    ]


def _pause(graph: GraphFacts, snapshot: Snapshot, pending: PendingInterrupt, *, is_failed: bool) -> Pause:
    """Read one question. `is_failed`: a question of its step has an answer that its node failed with."""
    kind, asked = _asked(pending, graph.tool_schemas())
    author = graph.approval_metadata(pending.node)
    asked = _with_words(asked, author.get("description"))
    why_not = POISONED if pending.is_poisoned else STEP_FAILED if is_failed else ""
    return Pause(
        kind=kind,
        interrupt_id=pending.id,
        next=(pending.node,),
        title=asked.title,
        summary=asked.summary,
        request={
            "node": pending.node,
            "path": list(pending.path),
            "value": pending.value,
            "response_schema": pending.response_schema,
        },
        actions=_with_call_ids(asked.actions, snapshot.values),
        allowed_verdicts=() if why_not else asked.verdicts,
        answer_schema=asked.answer_schema,
        why_not=why_not,
        tools=asked.tools,
        gist=_gist(pending, asked, author, snapshot.values),
    )


def _gist(
    pending: PendingInterrupt, asked: AskedQuestion, author: Mapping[str, Any], values: Mapping[str, Any]
) -> Gist:
    told = {"title": asked.title, "summary": asked.summary}
    if asked.tools:
        return gist.of_calls(asked.actions, [author] * len(asked.actions), values, summary=asked.summary)
    return gist.of_question(any_value.words_of(pending.value), pending.value, author, pending.response_schema, **told)


def _asked(pending: PendingInterrupt, tools: Mapping[str, Any]) -> tuple[str, AskedQuestion]:
    for kind, dialect in DIALECTS.items():
        if asked := dialect.read(pending, tools):
            return kind, asked
    raise AssertionError("plain reads everything")


def _with_words(asked: AskedQuestion, description: Any) -> AskedQuestion:
    """Take title and description from the node's author where the agent gives none."""
    if not isinstance(description, str) or any(action.description for action in asked.actions):
        return asked
    return replace(
        asked,
        actions=tuple(replace(action, description=description, described_by="author") for action in asked.actions),
    )


def _with_call_ids(actions: Sequence[Action], values: Mapping[str, Any]) -> tuple[Action, ...]:
    """Add the id of the tool call to each action whose payload lacks it, from the agent's last message."""
    calls = [call for message in last_messages(values) for call in message.get("tool_calls") or ()]
    found: list[Action] = []
    for action in actions:
        fits = (each for each in calls if (each.get("name"), each.get("args")) == (action.name, action.args))
        call = None if action.call_id else next(fits, None)
        if call:
            calls.remove(call)
        found.append(replace(action, call_id=str(call.get("id") or "")) if call else action)
    return tuple(found)


def faults_in(question: Question, answer: Any) -> list[Fault]:
    """Validate an answer before LangGraph receives it. Return a fault with a path for each mistake."""
    if question.kind == "breakpoint":
        answer = breakpoint.without_kept(question, answer)
    if faults := list(schemas.unstorable(answer, "")):
        return faults
    if len(canonical(answer)) > LONGEST_ANSWER:
        return [Fault("", f"The answer is longer than {LONGEST_ANSWER} characters of JSON.")]
    return list(schemas.faults(question.answer_schema or {}, answer))


def write(question: Question, choices: Sequence[Choice]) -> Any:
    """Return the answer for one choice an action, in the format that the graph takes."""
    return _WRITERS[question.kind].write(question, choices)


def choices_in(question: Question, answer: Any) -> list[Choice]:
    """Return the choice for each action; empty if the question is not about actions."""
    return list(_WRITERS[question.kind].choices_in(question, answer)) if question.kind in _WRITERS else []


def plain_answer(question: Question, verdict: str, reason: str) -> Any:
    """Return the answer that approves every action, or rejects every action with a reason."""
    choice = Choice(verdict, message=reason if verdict == "reject" else "")
    return write(question, [choice for _ in question.actions])
