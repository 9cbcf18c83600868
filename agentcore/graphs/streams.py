"""What LangGraph streams of a run, turned into the parts of a LangGraph server's stream."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, cast

from langchain_core.messages import BaseMessage, BaseMessageChunk, message_chunk_to_message
from langgraph.types import Send, StreamMode

from agentcore.plain.errors import without_secrets
from agentcore.plain.json import DEEPEST, payload
from agentcore.plain.masks import Mask
from agentcore.plain.streams import ALWAYS, StreamPiece, Wanted, named

Raw = tuple[tuple[str, ...], str, Any]
"""As LangGraph has it: the namespace, the mode, the data."""
_OF_MESSAGES = {"messages", "messages-tuple"}
_SAID = {"messages", "custom"}
"""What nodes say while they run."""
_PLACE = ("thread_id", "checkpoint_ns", "checkpoint_id", "checkpoint_map")


def langgraph_modes(wanted: Wanted) -> list[StreamMode]:
    """Return the modes that a run is called with. Only some are told in every run: others cost, or change how it runs.

    With `messages`, models are asked to stream; with `custom`, LangGraph looks for what is said while nodes run.
    """
    others = sorted("messages" if mode in _OF_MESSAGES else mode for mode in wanted.modes)
    return [cast(StreamMode, mode) for mode in dict.fromkeys([*ALWAYS, *others])]


class PieceReader:
    """Turns what one run streams into parts, without a secret.

    In a graph with secrets, what nodes say while they run waits until none runs: a node may say a secret, in pieces
    even, before it writes it into the state, from which it is known.
    """

    def __init__(self) -> None:
        self.mask = Mask(())
        self._messages: dict[str, BaseMessage] = {}
        self._held: list[Raw] = []
        self._running: set[str] = set()

    def pieces_of(self, raws: Iterable[Raw], wanted: Wanted) -> list[StreamPiece]:
        """Return the parts that somebody asks for, with plain data."""
        return [part for raw in raws for part in self._pieces_of(raw, wanted)]

    def rest(self, wanted: Wanted) -> list[StreamPiece]:
        """Return what was held back."""
        held, self._held = self._held, []
        return [self._masked(part) for raw in held for part in self._clear_pieces_of(raw, wanted)]

    def _pieces_of(self, raw: Raw, wanted: Wanted) -> Iterator[StreamPiece]:
        _, mode, chunk = raw
        if not self.mask.paths:
            yield from self._clear_pieces_of(raw, wanted)
        elif mode in _SAID:
            self._hold(raw)
        else:
            self.mask.learn(plain_of(chunk, self.mask))
            if mode == "tasks":
                self._note_task(raw)
            if not self._running:
                yield from self.rest(wanted)
            yield from map(self._masked, self._clear_pieces_of(raw, wanted))

    def _hold(self, raw: Raw) -> None:
        """Hold it back; of a message that comes in pieces, hold the whole."""
        namespace, mode, chunk = raw
        for place, held in enumerate(self._held):
            if mode == "messages" == held[1] and _is_more_of(held[2][0], chunk[0]):
                whole, metadata = held[2]
                self._held[place] = (namespace, mode, (whole + chunk[0], metadata))
                return
        self._held.append(raw)

    def _note_task(self, raw: Raw) -> None:
        """Note that a task begins or ends. What it said is not told if it ends without a result: that could have told
        of a secret.
        """
        namespace, _, task = raw
        if "input" in task:
            self._running.add(task["id"])
            return
        self._running.discard(task["id"])
        if task.get("error") or task.get("interrupts"):
            self._held = [held for held in self._held if not _is_said_by(held, namespace, task["id"])]

    def _masked(self, part: StreamPiece) -> StreamPiece:
        return replace(part, data=self.mask.everywhere(part.data))

    def _clear_pieces_of(self, raw: Raw, wanted: Wanted) -> Iterator[StreamPiece]:
        namespace, mode, chunk = raw
        is_inner = bool(namespace)
        if is_inner and not wanted.has_subgraphs:
            return
        if mode == "messages":
            for asked, name, data in self._of_message(*chunk):
                if asked in wanted.modes:
                    yield StreamPiece(asked, named(name, namespace), plain_of(data, self.mask), is_inner)
        elif mode in wanted.modes:
            data = plain_of(_with_places(mode, chunk), self.mask)
            yield StreamPiece(mode, named(mode, namespace), data, is_inner)

    def _of_message(self, message: Any, metadata: Any) -> Iterator[tuple[str, str, Any]]:
        yield "messages-tuple", "messages", [message, metadata]
        if not isinstance(message, BaseMessage):
            return
        message_id = str(message.id)
        begun = self._messages.get(message_id)
        if begun is None:
            yield "messages", "messages/metadata", {message_id: {"metadata": metadata}}
        is_piece = isinstance(message, BaseMessageChunk)
        whole: BaseMessage = begun + message if begun is not None and is_piece else message  # type: ignore[assignment]
        self._messages[message_id] = whole
        yield "messages", f"messages/{'partial' if is_piece else 'complete'}", [message_chunk_to_message(whole)]


def _is_more_of(begun: Any, message: Any) -> bool:
    return isinstance(begun, BaseMessageChunk) and isinstance(message, BaseMessageChunk) and begun.id == message.id


def _is_said_by(raw: Raw, namespace: tuple[str, ...], task_id: str) -> bool:
    """Return whether a task said it. What a node writes has no more than the namespace of its graph."""
    if raw[1] == "custom":
        return raw[0] == namespace
    return str(raw[2][1].get("langgraph_checkpoint_ns", "")).endswith(task_id)


def plain_of(value: Any, mask: Mask) -> Any:
    """Return data that JSON can carry, in which a message has all its fields.

    Errors are masked here already: what looks like a password is blanked in them, which may be a part of a secret.
    """
    return payload(_opened(value, mask))


def _opened(value: Any, mask: Mask, depth: int = 0) -> Any:
    if isinstance(value, BaseMessage):
        return value.model_dump(warnings=False)
    if isinstance(value, BaseException):
        return {"error": type(value).__name__, "message": without_secrets(mask.anywhere(str(value)))}
    if isinstance(value, Send):
        return {"node": value.node, "args": _opened(value.arg, mask, depth + 1)}
    if depth > DEEPEST:
        return value
    if type(value) is dict:
        return {key: _opened(item, mask, depth + 1) for key, item in value.items()}
    if type(value) in (list, tuple):
        return [_opened(item, mask, depth + 1) for item in value]
    return value


def _with_places(mode: str, chunk: Any) -> Any:
    """Say of a checkpoint where it is, without the rest of the config. In `debug` it is said as the server says it."""
    if mode == "checkpoints":
        return _checkpoint(chunk)
    if mode == "debug" and chunk["type"] == "checkpoint":
        return {**chunk, "payload": _of_server(_checkpoint(chunk["payload"]))}
    return chunk


def _checkpoint(told: Mapping[str, Any]) -> dict[str, Any]:
    configs = {name: _placed(told.get(name)) for name in ("config", "parent_config")}
    tasks = [{**task, "state": _placed(task["state"])} if task.get("state") else task for task in told["tasks"]]
    return {**told, **configs, "tasks": tasks}


def _of_server(told: Mapping[str, Any]) -> dict[str, Any]:
    here = {"checkpoint": _place(told["config"]), "parent_checkpoint": _place(told["parent_config"])}
    return {**told, **here, "tasks": [_task_of_server(task) for task in told["tasks"]]}


def _task_of_server(task: Mapping[str, Any]) -> Mapping[str, Any]:
    if not task.get("state"):
        return task
    return {**{name: value for name, value in task.items() if name != "state"}, "checkpoint": _place(task["state"])}


def _placed(config: Any) -> dict[str, Any] | None:
    place = _place(config)
    return {"configurable": place} if place else None


def _place(config: Any) -> dict[str, Any] | None:
    found = config.get("configurable") if isinstance(config, Mapping) else None
    return {name: found[name] for name in _PLACE if name in found} if found else None
