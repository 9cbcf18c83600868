"""Each public method of the LangGraph SDK's clients, called in one order against any server, and what came of it."""

import inspect
import re
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from itertools import islice
from typing import Any

from langgraph_sdk import get_client, get_sync_client

Kept = dict[str, Any]
"""Ids that later calls need."""
Shape = Any
"""Of an answer: names and types, without values."""
NOBODY = str(uuid.UUID(int=7))
MOST_EVENTS = 40
OF_DATA = {"metadata", "config", "context", "kwargs", "data"} | {
    f"{each}_schema" for each in ("input", "output", "state", "config", "context")
}
"""What differs with the graph and the server: that it is an object is compared, and no more."""
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d.*")


@dataclass(frozen=True)
class Call:
    """One call. `by` names whose token it has where a server knows people; `keep` takes what later calls need."""

    method: str
    when: str
    ask: Callable[[Any, Kept], Any]
    keep: Callable[[Any, Kept], Any] = lambda answer, kept: None
    by: str = "starter"

    @property
    def name(self) -> str:
        return f"{self.method}: {self.when}" if self.when else self.method


def keeping(name: str, field: str) -> Callable[[Any, Kept], Any]:
    return lambda answer, kept: kept.update({name: answer[field]})


def run(thread: str, graph: str, **more: Any) -> Callable[[Any, Kept], Any]:
    return lambda c, k: c.runs.create(k[thread], graph, **more)


ASKING: dict[str, Any] = {"input": {"text": "Ada"}}
SLOW: dict[str, Any] = {"input": {"text": "x", "flag": True, "seconds": 30.0}}
DAILY = "0 0 * * *"

CALLS = [
    Call(
        "assistants.search",
        "",
        lambda c, k: c.assistants.search(graph_id="asking"),
        lambda answer, kept: kept.update(assistant=answer[0]["assistant_id"]),
    ),
    Call("assistants.count", "", lambda c, k: c.assistants.count(graph_id="asking")),
    Call("assistants.get", "", lambda c, k: c.assistants.get(k["assistant"])),
    Call("assistants.get", "of none", lambda c, k: c.assistants.get(NOBODY)),
    Call("assistants.get_graph", "", lambda c, k: c.assistants.get_graph(k["assistant"])),
    Call("assistants.get_schemas", "", lambda c, k: c.assistants.get_schemas(k["assistant"])),
    Call("assistants.get_subgraphs", "", lambda c, k: c.assistants.get_subgraphs(k["assistant"])),
    Call(
        "assistants.create",
        "",
        lambda c, k: c.assistants.create("asking", name="Mine"),
        keeping("mine", "assistant_id"),
    ),
    Call("assistants.update", "", lambda c, k: c.assistants.update(k.get("mine", k["assistant"]), name="Yours")),
    Call("assistants.get_versions", "", lambda c, k: c.assistants.get_versions(k["assistant"])),
    Call("assistants.set_latest", "", lambda c, k: c.assistants.set_latest(k["assistant"], 1)),
    Call("assistants.delete", "", lambda c, k: c.assistants.delete(k.get("mine", k["assistant"]))),
    Call(
        "threads.create", "", lambda c, k: c.threads.create(metadata={"desk": "north"}), keeping("thread", "thread_id")
    ),
    Call("threads.create", "that is there", lambda c, k: c.threads.create(thread_id=k["thread"])),
    Call("threads.get", "on which nothing ran", lambda c, k: c.threads.get(k["thread"])),
    Call("threads.get", "that is not there", lambda c, k: c.threads.get(NOBODY)),
    Call("threads.update", "", lambda c, k: c.threads.update(k["thread"], metadata={"more": 1})),
    Call("threads.search", "", lambda c, k: c.threads.search(ids=[k["thread"]])),
    Call(
        "threads.search",
        "with select",
        lambda c, k: c.threads.search(ids=[k["thread"]], select=["thread_id", "status"]),
    ),
    Call("threads.count", "", lambda c, k: c.threads.count(metadata={"desk": "north"})),
    Call("threads.get_state", "on which nothing ran", lambda c, k: c.threads.get_state(k["thread"])),
    Call("threads.get_history", "on which nothing ran", lambda c, k: c.threads.get_history(k["thread"])),
    Call("runs.create", "of no assistant", lambda c, k: c.runs.create(k["thread"], "no-such-graph", **ASKING)),
    Call("runs.create", "on no thread", lambda c, k: c.runs.create(NOBODY, "asking", **ASKING)),
    Call("runs.create", "", run("thread", "asking", **ASKING, metadata={"trace": "t"}), keeping("run", "run_id")),
    Call("runs.join", "that asks", lambda c, k: c.runs.join(k["thread"], k["run"])),
    Call("runs.get", "that asks", lambda c, k: c.runs.get(k["thread"], k["run"])),
    Call("runs.get", "that is not there", lambda c, k: c.runs.get(k["thread"], NOBODY)),
    Call("runs.list", "", lambda c, k: c.runs.list(k["thread"])),
    Call("runs.list", "with select", lambda c, k: c.runs.list(k["thread"], select=["run_id", "status"])),
    Call("threads.get", "that asks", lambda c, k: c.threads.get(k["thread"])),
    Call("threads.search", "of those that ask", lambda c, k: c.threads.search(ids=[k["thread"]], status="interrupted")),
    Call(
        "threads.get_state", "that asks", lambda c, k: c.threads.get_state(k["thread"]), keeping("state", "checkpoint")
    ),
    Call("threads.get_state", "with subgraphs", lambda c, k: c.threads.get_state(k["thread"], subgraphs=True)),
    Call("threads.get_state", "at a checkpoint", lambda c, k: c.threads.get_state(k["thread"], checkpoint=k["state"])),
    Call("threads.get_state", "of no thread", lambda c, k: c.threads.get_state(NOBODY)),
    Call("threads.get_history", "", lambda c, k: c.threads.get_history(k["thread"])),
    Call("threads.copy", "", lambda c, k: c.threads.copy(k["thread"]), keeping("copy", "thread_id")),
    Call("threads.update_state", "that asks", lambda c, k: c.threads.update_state(k["copy"], {"text": "Bob"})),
    Call(
        "runs.create",
        "to a question that is gone",
        run("thread", "asking", command={"resume": {"0" * 32: 1}}),
        by="voter",
    ),
    Call(
        "runs.create",
        "with an answer",
        run("thread", "asking", command={"resume": 300}),
        keeping("answered", "run_id"),
        by="voter",
    ),
    Call("runs.join", "to a breakpoint", lambda c, k: c.runs.join(k["thread"], k["answered"])),
    Call("threads.get_state", "at a breakpoint", lambda c, k: c.threads.get_state(k["thread"])),
    Call("threads.get", "at a breakpoint", lambda c, k: c.threads.get(k["thread"])),
    Call(
        "runs.create",
        "over a breakpoint",
        run("thread", "asking", command={"resume": True}),
        keeping("last", "run_id"),
        by="voter",
    ),
    Call("runs.join", "to the end", lambda c, k: c.runs.join(k["thread"], k["last"])),
    Call("runs.get", "that is over", lambda c, k: c.runs.get(k["thread"], k["last"])),
    Call("threads.get", "that is over", lambda c, k: c.threads.get(k["thread"])),
    Call("threads.create", "for a run to wait for", lambda c, k: c.threads.create(), keeping("waited", "thread_id")),
    Call("runs.wait", "", lambda c, k: c.runs.wait(k["waited"], "asking", **ASKING)),
    Call(
        "runs.wait",
        "with an answer",
        lambda c, k: c.runs.wait(k["waited"], "asking", command={"resume": 300}),
        by="voter",
    ),
    Call("threads.create", "for a stream", lambda c, k: c.threads.create(), keeping("streamed", "thread_id")),
    Call(
        "runs.stream",
        "",
        lambda c, k: c.runs.stream(k["streamed"], "asking", **ASKING, stream_mode=["values", "updates"]),
        lambda answer, kept: kept.update(streamed_run=answer[0].data["run_id"]),
    ),
    Call("runs.join_stream", "", lambda c, k: c.runs.join_stream(k["streamed"], k["streamed_run"])),
    Call("threads.create", "to cancel a run of", lambda c, k: c.threads.create(), keeping("slow", "thread_id")),
    Call("runs.create", "that takes its time", run("slow", "gated", **SLOW), keeping("slow_run", "run_id")),
    Call("runs.cancel", "", lambda c, k: c.runs.cancel(k["slow"], k["slow_run"], wait=True)),
    Call("runs.get", "that was cancelled", lambda c, k: c.runs.get(k["slow"], k["slow_run"])),
    Call("threads.get", "of which a run was cancelled", lambda c, k: c.threads.get(k["slow"])),
    Call("runs.cancel_many", "", lambda c, k: c.runs.cancel_many(thread_id=k["slow"], run_ids=[k["slow_run"]])),
    Call("runs.delete", "", lambda c, k: c.runs.delete(k["slow"], k["slow_run"])),
    Call("runs.create", "without a thread", lambda c, k: c.runs.create(None, "asking", **ASKING)),
    Call("runs.wait", "without a thread", lambda c, k: c.runs.wait(None, "asking", **ASKING)),
    Call("runs.stream", "without a thread", lambda c, k: c.runs.stream(None, "asking", **ASKING)),
    Call("runs.create_batch", "", lambda c, k: c.runs.create_batch([{"assistant_id": "asking", **ASKING}])),
    Call("threads.prune", "", lambda c, k: c.threads.prune([k["copy"]])),
    Call("threads.delete", "", lambda c, k: c.threads.delete(k["slow"])),
    Call(
        "threads.delete",
        "with a reason",
        lambda c, k: c.threads.delete(k["waited"], params={"reason": "Test."}),
        by="admin",
    ),
    Call(
        "crons.create", "", lambda c, k: c.crons.create("asking", schedule=DAILY, **ASKING), keeping("cron", "cron_id")
    ),
    Call("crons.create_for_thread", "", lambda c, k: c.crons.create_for_thread(k["thread"], "asking", schedule=DAILY)),
    Call("crons.search", "", lambda c, k: c.crons.search()),
    Call("crons.count", "", lambda c, k: c.crons.count()),
    Call("crons.update", "", lambda c, k: c.crons.update(k.get("cron", NOBODY), schedule="0 1 * * *")),
    Call("crons.delete", "", lambda c, k: c.crons.delete(k.get("cron", NOBODY))),
    Call("store.put_item", "", lambda c, k: c.store.put_item(["notes"], "one", {"text": "x"})),
    Call("store.get_item", "", lambda c, k: c.store.get_item(["notes"], "one")),
    Call("store.search_items", "", lambda c, k: c.store.search_items(["notes"])),
    Call("store.list_namespaces", "", lambda c, k: c.store.list_namespaces()),
    Call("store.delete_item", "", lambda c, k: c.store.delete_item(["notes"], "one")),
]
APART = {
    "threads.stream": "501, its newer protocol is not spoken here; `runs.stream` and `threads.join_stream` are",
    "threads.join_stream": "it ends when its reader leaves, so it is tried by `tests/approvals/test_streams.py`",
}
"""Methods that other tests call, and why."""


def public_methods(client: Any) -> set[str]:
    """Return the public methods of a client, as `threads.get`."""
    return {
        f"{part}.{name}"
        for part in ("assistants", "threads", "runs", "crons", "store")
        for name, _ in inspect.getmembers(getattr(client, part), callable)
        if not name.startswith("_")
    }


async def record(url: str, tokens: Mapping[str, str]) -> dict[str, Shape]:
    """Call each with the async client. Return the shape of each answer, or the status of the refusal."""
    kept: Kept = {}
    async with AsyncExitStack() as stack:
        clients = {
            by: await stack.enter_async_context(get_client(url=url, api_key=token)) for by, token in tokens.items()
        }
        return {call.name: await _answered(call, clients[call.by], kept) for call in CALLS}


async def _answered(call: Call, client: Any, kept: Kept) -> Shape:
    try:
        answer = call.ask(client, kept)
        if isinstance(answer, AsyncIterator):
            answer = [each async for each in answer]
        elif inspect.isawaitable(answer):
            answer = await answer
        call.keep(answer, kept)
    except Exception as error:  # noqa: BLE001 - each refusal is an answer too
        return refused(error)
    return shape(answer)


def record_sync(url: str, tokens: Mapping[str, str]) -> dict[str, Shape]:
    """The same with the sync client."""
    kept: Kept = {}
    with ExitStack() as stack:
        clients = {by: stack.enter_context(get_sync_client(url=url, api_key=token)) for by, token in tokens.items()}
        return {call.name: _answered_at_once(call, clients[call.by], kept) for call in CALLS}


def _answered_at_once(call: Call, client: Any, kept: Kept) -> Shape:
    try:
        answer = call.ask(client, kept)
        if isinstance(answer, Iterator):
            answer = list(islice(answer, MOST_EVENTS))
        call.keep(answer, kept)
    except Exception as error:  # noqa: BLE001 - each refusal is an answer too
        return refused(error)
    return shape(answer)


def refused(error: Exception) -> Shape:
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None) or getattr(error, "status_code", None)
    return {"refused": status or type(error).__name__}


def shape(value: Any, name: str = "") -> Shape:
    """Return names and types. Items of a list that differ are each listed."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return _of_text(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):  # an event of a stream
        return {"event": value.event, "data": shape(value.data)}
    if name in OF_DATA:
        return "object"
    if isinstance(value, Mapping):
        return {_key(key): shape(each, key) for key, each in value.items()}
    found: list[Shape] = []
    for each in value:
        if (one := shape(each)) not in found:
            found.append(one)
    return found


def _of_text(value: str) -> str:
    return "id" if _is_id(value) else "time" if _TIME.fullmatch(value) else "text"


def _key(key: str) -> str:
    return "ID" if _is_id(key) else key


def _is_id(value: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", value) is not None
