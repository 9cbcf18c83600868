"""Decide each task at a gate by itself: write the resulting checkpoint directly, without running the graph.

No node and no routing runs: a node whose edges sent the tasks would send them again. Approved Sends stay, edited ones
carry other arguments, rejected ones are removed. A rejected task that reads the state counts as done without a write.
Everything else stays as stored.
"""

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph._internal._constants import RESUME  # no public names, see `questions`
from langgraph.channels.binop import BinaryOperatorAggregate
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.serde.types import TASKS
from langgraph.types import Overwrite, Send
from pydantic import BaseModel

from agentcore.graphs import sends
from agentcore.graphs.next_step import NextStep
from agentcore.graphs.registry import CompiledGraph
from agentcore.plain import masks
from agentcore.plain.errors import CannotEdit, Fault
from agentcore.plain.json import to_plain
from agentcore.plain.sends import args_in, call_in
from agentcore.plain.types import Choice, GateTask, Snapshot
from agentcore.savers.base import Saver

UNDER_WAY = "A node of this step has begun already, so its tasks cannot be decided one by one any more."
REJECTED = "A person rejected this call, and it was not made."


async def write(
    graph: CompiledGraph,
    saver: Saver,
    config: RunnableConfig,
    here: Snapshot,
    choices: Sequence[Choice],
) -> str:
    """Write the checkpoint that follows from one choice a task of the gate `here`. Return its id.

    `graph` is the one with the tasks, `config` its place, with the metadata of the new checkpoint. Raises CannotEdit.
    """
    tasks = here.gate.tasks if here.gate else ()
    saved = await saver.aget_tuple(config)
    if saved is None or saved.checkpoint["id"] != here.checkpoint_id or len(tasks) != len(choices):
        raise CannotEdit([Fault("", "These are not the tasks that wait here.")])
    if any(channel != RESUME for _, channel, _ in saved.pending_writes or ()):
        raise CannotEdit([Fault("", UNDER_WAY)])
    step = await _Decided.after(graph, saver, saved, here.secrets)
    step.decide(tasks, choices)
    return await step.put(config.get("metadata") or {})


class _Decided(NextStep):
    """The checkpoint after the decisions."""

    def decide(self, tasks: Sequence[GateTask], choices: Sequence[Choice]) -> None:
        decided = list(zip(range(len(tasks)), tasks, choices, strict=True))
        kept = self._decide_sent([each for each in decided if each[1].is_sent])
        read = [(task.node, choice.verdict) for _, task, choice in decided if not task.is_sent]
        kept_nodes = [node for node, verdict in read if verdict != "reject"]
        for node in (node for node, verdict in read if verdict == "reject"):
            self._count_as_done(node, kept_nodes)
        self._set(TASKS, kept)

    def _decide_sent(self, decided: Sequence[tuple[int, GateTask, Choice]]) -> list[Any]:
        """Return the Sends that are kept, with their edits. The tool calls in messages get the same edits."""
        carried = sends.sends_in(self.saved.checkpoint["channel_values"])
        edited: dict[str, Any] = {}
        told: list[ToolMessage] = []
        kept = []
        for number, task, choice in decided:
            send = carried[task.place]
            call = call_in(send.arg)
            if choice.verdict == "reject":
                told += [_rejection(call, choice.message)] if call else []
                continue
            if choice.verdict == "edit":
                send = self._edited(send, choice.args, f"decisions/{number}/edited_action/args")
                edited |= {str(call.get("id")): (call_in(send.arg) or {})["args"]} if call else {}
            kept.append(send)
        changed = self._change_messages(edited, told) if edited or told else {}
        return [_beside(send, changed) for send in kept]

    def _edited(self, send: Send, args: Any, path: str) -> Send:
        """What nobody is shown of the arguments stays as it is, where nobody wrote over it."""
        plain, values = to_plain(send.arg), self.saved.checkpoint["channel_values"]
        state = {name: to_plain(values[name]) for name in masks.channels_of(self.secrets) if name in values}
        mask = masks.Mask(self.secrets, state, *masks.states_in_sent(plain))
        edited = sends.with_args(send, args, args_in(masks.hidden_sent(mask, plain)), path)
        if masks.MASK in _text(edited.arg) and masks.MASK not in _text(send.arg):
            raise CannotEdit([Fault(path, masks.TYPE_ANEW)])
        return edited

    def _change_messages(self, edited: Mapping[str, Any], told: Sequence[ToolMessage]) -> dict[str, AIMessage]:
        """Change the calls in the messages that made them, and tell the model what was rejected; return the changed."""
        changed: dict[str, AIMessage] = {}
        for name, channel in self.channels.items():
            there = channel.get() if channel.is_available() else None
            if not isinstance(there, list):
                continue
            made = {call["id"] for message in there if isinstance(message, AIMessage) for call in message.tool_calls}
            answers = [each for each in told if each.tool_call_id in made]
            if not answers and made.isdisjoint(edited):
                continue
            mended = [_with_calls(each, edited) for each in there]
            changed |= {str(new.id): new for old, new in zip(there, mended, strict=True) if new is not old}
            whole = [*mended, *answers]
            is_merged = isinstance(channel, BinaryOperatorAggregate | DeltaChannel)
            channel.update([Overwrite(whole) if is_merged else whole])
            self.touch(name)
        return changed

    def _count_as_done(self, node: str, kept: Iterable[str]) -> None:
        """As LangGraph does when a task ends: what triggered it is seen, and consumed, unless another waits for it."""
        triggers = set(self.graph.nodes[node].triggers)
        versions = self.checkpoint["channel_versions"]
        seen = self.checkpoint["versions_seen"].setdefault(node, {})
        seen |= {name: versions[name] for name in triggers if name in versions}
        for other in kept:
            triggers -= set(self.graph.nodes[other].triggers)
        for name in sorted(triggers & self.channels.keys()):
            if self.channels[name].consume():
                self.touch(name)

    def _set(self, name: str, value: list[Any]) -> None:
        if sends.sends_in(self.saved.checkpoint["channel_values"]) != value:
            self.channels[name] = self.channels[name].from_checkpoint(value)
            self.touch(name)


def _text(value: Any) -> str:
    return json.dumps(to_plain(value), ensure_ascii=False)


def _rejection(call: Mapping[str, Any], reason: str) -> ToolMessage:
    return ToolMessage(
        content=reason or REJECTED,
        name=call["name"],
        tool_call_id=str(call.get("id") or ""),
        status="error",
        id=str(uuid.uuid5(uuid.NAMESPACE_OID, f"rejected {call.get('id')}")),
    )


def _with_calls(message: Any, edited: Mapping[str, Any]) -> Any:
    """Return the message with other arguments in its calls, also in the model provider's own format."""
    if not isinstance(message, AIMessage) or edited.keys().isdisjoint(call["id"] or "" for call in message.tool_calls):
        return message
    calls = [{**call, "args": edited.get(call["id"] or "", call["args"])} for call in message.tool_calls]
    extra = dict(message.additional_kwargs)
    if isinstance(extra.get("tool_calls"), list):
        extra["tool_calls"] = [_raw_call(each, edited) for each in extra["tool_calls"]]
    content = message.content
    if isinstance(content, list):
        content = [_block(each, edited) for each in content]
    return message.model_copy(update={"tool_calls": calls, "additional_kwargs": extra, "content": content})


def _raw_call(raw: Any, edited: Mapping[str, Any]) -> Any:
    if not isinstance(raw, Mapping) or raw.get("id") not in edited or not isinstance(raw.get("function"), Mapping):
        return raw
    return {**raw, "function": {**raw["function"], "arguments": json.dumps(edited[raw["id"]])}}


def _block(block: Any, edited: Mapping[str, Any]) -> Any:
    """Return a content block that repeats a call; each provider has a format of its own."""
    if not isinstance(block, Mapping):
        return block
    call_id = next((block[key] for key in ("call_id", "id") if block.get(key) in edited), None)
    told = {name: edited[call_id] for name in ("input", "args") if call_id and name in block}
    if call_id and "arguments" in block:
        is_text = isinstance(block["arguments"], str)
        told["arguments"] = json.dumps(edited[call_id]) if is_text else edited[call_id]
    return {**block, **told}


def _beside(send: Send, changed: Mapping[str, AIMessage]) -> Send:
    """Put the changed message into the state that is sent along with a call."""
    if not changed or not isinstance(send.arg, Mapping) or call_in(send.arg) is None:
        return send
    arg = {**send.arg, "state": _with_messages(send.arg.get("state"), changed)}
    return Send(send.node, arg, timeout=send.timeout)


def _with_messages(state: Any, changed: Mapping[str, AIMessage]) -> Any:
    fields = dict(state) if isinstance(state, Mapping | BaseModel) else {}
    new = {
        name: [changed.get(str(item.id), item) if isinstance(item, BaseMessage) else item for item in value]
        for name, value in fields.items()
        if isinstance(value, list)
    }
    if isinstance(state, BaseModel):
        return state.model_copy(update=new)
    return {**state, **new} if isinstance(state, Mapping) else state
