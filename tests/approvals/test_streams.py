"""Runs that a client of LangGraph waits for and watches: the SDK's own clients, which nobody here wrote."""

import asyncio
import json
import re
import signal
import subprocess
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, aclosing
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph.pregel.remote import RemoteGraph
from langgraph.types import Command
from langgraph_sdk import get_client, get_sync_client
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import ConflictError
from langgraph_sdk.schema import StreamPart

from tests import forks
from tests.console import Console, wait_for
from tests.graphs import times_run
from tests.talking import ANSWER, KEY, LOUD, SLOW

HELLO = {"messages": [{"role": "user", "content": "Where is my lamp?"}]}
NOTES = ["said", "waited"]
_PARTS = "SELECT mode, data FROM approvals_streampart WHERE thread_id = %s ORDER BY id"
_SUBSCRIPTIONS = "SELECT modes FROM approvals_subscription WHERE thread_id = %s"
_NO_GROUPS = "DELETE FROM auth_user_groups WHERE user_id = (SELECT id FROM auth_user WHERE username = %s) RETURNING 1"
MANY_PARTS = 400
"""Of 60,000 characters each: more than is kept, and more than a connection holds."""
MANY = 40
"""More streams than requests that are handled at once."""


def headers_of(console: Console, name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {console.token(name)}"}


def sdk(console: Console, name: str = "olga") -> LangGraphClient:
    return get_client(url=f"{console.url}/api", api_key=None, headers=headers_of(console, name))


@pytest.fixture
async def operator(console: Console) -> AsyncIterator[LangGraphClient]:
    async with sdk(console) as client:
        yield client


@pytest.fixture
async def thread_id(operator: LangGraphClient) -> str:
    return (await operator.threads.create())["thread_id"]


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Keep a node of `talking` busy until this is called: give it `wait_for` of the same file."""
    file = tmp_path / "busy"
    file.touch()
    yield lambda: file.unlink(missing_ok=True)
    file.unlink(missing_ok=True)


def named(parts: list[StreamPart], name: str) -> list[Any]:
    return [part.data for part in parts if part.event == name]


async def told(parts: AsyncIterator[StreamPart]) -> list[StreamPart]:
    return [part async for part in parts]


async def test_who_waits_for_a_run_is_given_its_values(operator: LangGraphClient, thread_id: str) -> None:
    values: Any = await operator.runs.wait(thread_id, "talking", input=HELLO)
    assert values["notes"] == [*NOTES, "answered nobody asked"]
    assert [message["content"] for message in values["messages"]] == ["Where is my lamp?", ANSWER]
    assert (await operator.threads.get(thread_id))["status"] == "idle"


async def test_who_waits_for_a_run_that_asks_is_given_the_question(operator: LangGraphClient, thread_id: str) -> None:
    values: Any = await operator.runs.wait(thread_id, "talking", input={**HELLO, "asks": True})
    [asked] = values.pop("__interrupt__")
    assert (asked["value"], len(asked["id"]), values["notes"]) == ({"question": "Send it?"}, 32, NOTES)
    [run] = await operator.runs.list(thread_id)
    joined: Any = await operator.runs.join(thread_id, run["run_id"])
    assert joined == {**values, "__interrupt__": [asked]}, "it has stopped already"


async def test_who_waits_for_a_run_that_stops_at_a_gate_is_given_its_values(
    operator: LangGraphClient, thread_id: str
) -> None:
    values: Any = await operator.runs.wait(thread_id, "gated", input={"text": "x"})
    assert values == {"text": "x", "notes": ["prepared"]}, "a breakpoint asks nothing, as with LangGraph's server"


async def test_who_waits_for_a_run_that_fails_is_told_why(operator: LangGraphClient, thread_id: str) -> None:
    with pytest.raises(Exception, match="ValueError: the lamp is broken"):
        await operator.runs.wait(thread_id, "talking", input={**HELLO, "fails": True})


async def test_a_stream_tells_the_values_after_each_step(operator: LangGraphClient, thread_id: str) -> None:
    created: list[Any] = []
    parts = await told(operator.runs.stream(thread_id, "talking", input=HELLO, on_run_created=created.append))
    [run] = await operator.runs.list(thread_id)
    assert (parts[0].event, parts[0].data) == ("metadata", {"run_id": run["run_id"], "attempt": 1})
    assert created == [{"run_id": run["run_id"], "thread_id": thread_id}]
    assert (parts[-1].event, parts[-1].data) == ("end", {"status": "success"})
    assert {part.event for part in parts[1:-1]} == {"values"}
    notes = [values["notes"] for values in named(parts, "values")]
    assert notes == [[], NOTES[:1], NOTES, NOTES, [*NOTES, "answered nobody asked"]]
    first = named(parts, "values")[0]["messages"][0]
    assert first.items() >= {"type": "human", "content": "Where is my lamp?", "additional_kwargs": {}}.items()


async def test_a_stream_tells_what_is_asked_for_as_a_langgraph_server_does(
    operator: LangGraphClient, thread_id: str
) -> None:
    modes: Any = ["updates", "messages-tuple", "custom", "tasks"]
    stream = operator.runs.stream(thread_id, "talking", input={**HELLO, "asks": True}, stream_mode=modes)
    parts = await told(stream)
    assert {part.event for part in parts} == {"metadata", "updates", "messages", "custom", "tasks", "end"}
    updates = named(parts, "updates")
    assert [list(update) for update in updates] == [["say"], ["wait"], ["look"], ["__interrupt__"]]
    assert [asked["value"] for asked in updates[-1]["__interrupt__"]] == [{"question": "Send it?"}]
    said = [(message["type"], message["content"]) for message, _ in named(parts, "messages")]
    assert "".join(text for kind, text in said if kind == "AIMessageChunk") == ANSWER
    assert len(said) > 5, "it comes in pieces"
    assert {metadata["langgraph_node"] for _, metadata in named(parts, "messages")} == {"say"}
    assert named(parts, "custom") == [{"progress": 1}]
    assert [task["name"] for task in named(parts, "tasks") if "input" in task] == ["say", "wait", "look", "ask"]
    assert named(parts, "end") == [{"status": "success"}]


async def test_messages_are_told_whole_so_far_where_that_is_asked_for(
    operator: LangGraphClient, thread_id: str
) -> None:
    parts = await told(operator.runs.stream(thread_id, "talking", input=HELLO, stream_mode="messages"))
    [metadata] = named(parts, "messages/metadata")
    texts = [message["content"] for [message] in named(parts, "messages/partial")]
    assert texts[-1] == ANSWER and all(ANSWER.startswith(text) for text in texts)
    assert {message["id"] for [message] in named(parts, "messages/partial")} == metadata.keys()
    assert named(parts, "messages") == []


async def test_subgraphs_are_told_under_their_namespace(operator: LangGraphClient, thread_id: str) -> None:
    modes: Any = ["updates", "checkpoints", "debug"]
    stream = operator.runs.stream(thread_id, "talking", input=HELLO, stream_mode=modes, stream_subgraphs=True)
    parts = await told(stream)
    [inside] = [part for part in parts if part.event.startswith("updates|")]
    assert inside.event.startswith("updates|look:") and inside.data == {"inner": {"place": "inside"}}
    newest = named(parts, "debug")[-1]["payload"]
    state = await operator.threads.get_state(thread_id)
    assert newest["checkpoint"]["checkpoint_id"] == state["checkpoint"]["checkpoint_id"]
    assert newest["parent_checkpoint"]["checkpoint_id"] == state["parent_checkpoint"]["checkpoint_id"]
    assert named(parts, "checkpoints")[-1]["config"] == {"configurable": newest["checkpoint"]}
    assert {each["type"] for each in named(parts, "debug")} == {"checkpoint", "task", "task_result"}


async def test_a_run_that_fails_ends_its_stream_with_the_error(operator: LangGraphClient, thread_id: str) -> None:
    stream = operator.runs.stream(thread_id, "talking", input={**HELLO, "fails": True}, stream_mode="tasks")
    parts = await told(stream)
    wrong = {"error": "ValueError", "message": "the lamp is broken"}
    assert (parts[-1].event, parts[-1].data) == ("error", wrong)
    assert named(parts, "tasks")[-1]["error"] == wrong


async def test_who_joins_a_run_that_is_at_work_is_told_what_was_and_what_comes(
    operator: LangGraphClient, thread_id: str, busy: Callable[[], None], tmp_path: Path, data_dir: Path
) -> None:
    input = {**HELLO, "wait_for": str(tmp_path / "busy")}
    stream = operator.runs.stream(thread_id, "talking", input=input, stream_mode=["values", "custom"])
    first = [await anext(stream) for _ in range(4)]
    assert [part.event for part in first] == ["metadata", "values", "custom", "values"]
    run_id = first[0].data["run_id"]
    whole, rest = (
        asyncio.create_task(told(operator.runs.join_stream(thread_id, run_id, last_event_id=after)))
        for after in ("-1", first[2].id)
    )
    busy()
    theirs = [*first, *await told(stream)]
    assert await whole == theirs
    assert await rest == theirs[3:], "without what it had, and without another beginning"
    assert await told(operator.runs.join_stream(thread_id, run_id)) == theirs, "it has ended, and is kept for a while"
    values = await told(operator.runs.join_stream(thread_id, run_id, stream_mode="values"))
    assert values == [part for part in theirs if part.event != "custom"]


async def test_a_run_that_nobody_streams_keeps_nothing_and_whoever_joins_it_is_told_the_rest(
    console: Console, operator: LangGraphClient, thread_id: str, busy: Callable[[], None], tmp_path: Path,
    data_dir: Path,
) -> None:  # fmt: skip
    run = await operator.runs.create(thread_id, "talking", input={**HELLO, "wait_for": str(tmp_path / "busy")})
    wait_for(lambda: times_run(data_dir, thread_id, "say"), what="the run to begin")
    with console.rows(_PARTS, thread_id) as parts, console.rows(_SUBSCRIPTIONS, thread_id) as subscriptions:
        joined = asyncio.create_task(told(operator.runs.join_stream(thread_id, run["run_id"])))
        await asyncio.to_thread(wait_for, subscriptions, what="the subscription")
        assert parts() == []
        busy()
        events = await joined
        assert [part.event for part in events][-2:] == ["values", "end"]
        assert events[-2].data["notes"] == [*NOTES, "answered nobody asked"]
        wait_for(lambda: not subscriptions(), what="the subscription to end")


async def test_who_leaves_a_stream_may_have_its_run_cancelled(
    console: Console, operator: LangGraphClient, thread_id: str, busy: Callable[[], None], tmp_path: Path
) -> None:
    for leaving, status in (("continue", "running"), ("cancel", "interrupted")):
        thread_id = (await operator.threads.create())["thread_id"]
        input = {**HELLO, "wait_for": str(tmp_path / "busy")}
        stream: Any = operator.runs.stream(thread_id, "talking", input=input, on_disconnect=leaving)
        assert [(await anext(stream)).event for _ in range(3)] == ["metadata", "values", "values"]
        await stream.aclose()
        with console.rows(_SUBSCRIPTIONS, thread_id) as subscriptions:
            wait_for(lambda: not subscriptions(), what="the subscription to end")
        [run] = await operator.runs.list(thread_id)
        assert run["status"] == status, leaving
    busy()


def test_clients_that_come_and_go_leave_nothing(console: Console, busy: Callable[[], None], tmp_path: Path) -> None:
    thread_id = console.start_run("talking", {**HELLO, "wait_for": str(tmp_path / "busy")})
    with console.api("olga") as olga, console.rows(_SUBSCRIPTIONS, thread_id) as subscriptions:
        [run] = olga.get(f"/threads/{thread_id}/runs").json()
        for path in (f"/threads/{thread_id}/runs/{run['run_id']}/stream", f"/threads/{thread_id}/stream"):
            for _ in range(MANY // 2):
                with olga.stream("GET", path) as left:  # before the first event may be there
                    assert left.status_code == 200
        wait_for(lambda: not subscriptions(), what="the subscriptions to end")
        assert olga.get(f"/threads/{thread_id}/runs/{run['run_id']}").json()["status"] == "running"
    busy()


async def test_who_leaves_does_not_stop_what_was_decided(
    console: Console, operator: LangGraphClient, thread_id: str
) -> None:
    asked = await operator.runs.wait(thread_id, "talking", input={**HELLO, "asks": True})
    command: Any = {"resume": {asked["__interrupt__"][0]["id"]: SLOW}}  # type: ignore[call-overload]  # a result has any type
    async with sdk(console, "alice") as alice:
        stream: Any = alice.runs.stream(thread_id, "talking", command=command, on_disconnect="cancel")
        run_id = (await anext(stream)).data["run_id"]
        await stream.aclose()
        values: Any = await alice.runs.join(thread_id, run_id)
    assert values["notes"] == [*NOTES, f"answered {SLOW}"]


async def test_who_may_come_back_misses_nothing(
    console: Console, operator: LangGraphClient, thread_id: str, busy: Callable[[], None], tmp_path: Path
) -> None:
    input = {**HELLO, "wait_for": str(tmp_path / "busy")}
    stream: Any = operator.runs.stream(thread_id, "talking", input=input, stream_resumable=True)
    first = [await anext(stream) for _ in range(3)]
    await stream.aclose()
    busy()
    await operator.runs.join(thread_id, first[0].data["run_id"])
    rest = await told(operator.runs.join_stream(thread_id, first[0].data["run_id"], last_event_id=first[-1].id))
    assert [len(values["notes"]) for values in named(rest, "values")] == [2, 2, 3]


async def test_the_stream_of_a_thread_has_each_run_whoever_starts_it(
    console: Console, operator: LangGraphClient, thread_id: str
) -> None:
    await operator.runs.wait(thread_id, "talking", input=HELLO)
    stream = await operator.threads.join_stream(thread_id)
    lifecycle = await operator.threads.join_stream(thread_id, stream_mode="lifecycle", last_event_id="0")
    ends = [asyncio.create_task(until_done(each)) for each in (stream, lifecycle)]
    with console.rows(_SUBSCRIPTIONS, thread_id) as subscriptions:
        await asyncio.to_thread(wait_for, subscriptions, what="the subscription")
    run = await operator.runs.create(thread_id, "talking", input=HELLO)
    begin = ("metadata", {"run_id": run["run_id"], "attempt": 1})
    done = ("metadata", {"status": "run_done", "run_id": run["run_id"]})
    parts, told_only = [await each for each in ends]
    assert [(part.event, part.data) for part in told_only] == [begin, done]
    assert (parts[0].event, parts[0].data) == begin and (parts[-1].event, parts[-1].data) == done
    assert {part.event for part in parts} == {"metadata", "values", "updates", "messages", "custom"}
    again = await until_done(await operator.threads.join_stream(thread_id, last_event_id=parts[0].id or "0"))
    assert [part.event for part in again[1:-1]] == [part.event for part in parts[1:-1]]


async def until_done(stream: AsyncIterator[StreamPart]) -> list[StreamPart]:
    parts = []
    async with aclosing(stream):  # type: ignore[type-var]  # the SDK calls it an iterator
        async for part in stream:
            parts.append(part)
            if isinstance(part.data, dict) and part.data.get("status") == "run_done":
                break
    return parts


def test_a_secret_never_leaves_in_a_stream(console: Console) -> None:
    thread_id = f"t-{uuid.uuid4()}"
    modes = ["values", "updates", "messages-tuple", "messages", "custom", "tasks", "checkpoints", "debug"]
    with console.api("olga") as olga:
        olga.post("/threads", json={"thread_id": thread_id}).raise_for_status()
        asked = {"assistant_id": "talking_of_secrets", "input": {}, "stream_mode": modes, "stream_subgraphs": True}
        text = olga.post(f"/threads/{thread_id}/runs/stream", json=asked).text
    assert KEY not in text
    for event in ("values", "updates", "messages", "messages/partial", "custom", "tasks", "checkpoints", "debug"):
        assert f"event: {event}\r\n" in text, "nothing is left out, only hidden"
    assert "The key is •••••• and no other." in text
    assert '"found": "••••••"' in text or '"found":"••••••"' in text
    with console.rows(_PARTS, thread_id) as parts:
        assert not [mode for mode, data in parts() if KEY in data]


def test_streams_take_no_place_from_other_requests(console: Console, busy: Callable[[], None], tmp_path: Path) -> None:
    thread_id = console.start_run("talking", {**HELLO, "wait_for": str(tmp_path / "busy")})
    with console.api("olga") as olga, ExitStack() as opened:
        [run] = olga.get(f"/threads/{thread_id}/runs").json()
        paths = [f"/threads/{thread_id}/runs/{run['run_id']}/{end}" for end in ("stream", "join")]
        streams = [opened.enter_context(olga.stream("GET", paths[number % 2])) for number in range(MANY)]
        assert {stream.status_code for stream in streams} == {200}
        assert olga.get(f"/threads/{thread_id}").json()["status"] == "busy"
        busy()
        texts = [stream.read().decode().lstrip("\n") for stream in streams]
    assert len(set(texts[1::2])) == 1 and json.loads(texts[1])["notes"][-1] == "answered nobody asked"
    assert all(text.endswith('event: end\r\ndata: {"status": "success"}\r\n\r\n') for text in texts[::2])


def test_who_does_not_read_keeps_no_run_from_ending_and_what_is_kept_has_a_bound(console: Console) -> None:
    from approvals.actions.runs.broadcasts import MOST_KEPT

    thread_id = f"t-{uuid.uuid4()}"
    with console.api("olga") as olga, console.rows(_PARTS, thread_id) as parts:
        olga.post("/threads", json={"thread_id": thread_id}).raise_for_status()
        asked = {"assistant_id": "talking", "input": {**HELLO, "loud": MANY_PARTS}, "stream_mode": ["values", "custom"]}
        with olga.stream("POST", f"/threads/{thread_id}/runs/stream", json=asked) as unread:
            place = unread.headers["Content-Location"]
            assert olga.get(f"{place}/join").json()["notes"][-1] == "answered nobody asked"
            assert sum(len(data) for _, data in parts()) <= MOST_KEPT + len(LOUD)
            text = unread.read().decode()
        assert text.endswith('event: end\r\ndata: {"status": "success"}\r\n\r\n')
        assert "answered nobody asked" in text, "what it misses in between is made good by the values"


def test_what_cannot_be_streamed_is_refused_with_a_reason(console: Console) -> None:
    thread_id, other = console.start_run("asking", {"text": "Ada"}), console.start_run("asking", {"text": "Bob"})
    console.pending(thread_id)
    with console.api("olga") as olga:
        [run] = olga.get(f"/threads/{thread_id}/runs").json()
        stream = f"/threads/{thread_id}/runs/{run['run_id']}/stream"
        start = {"assistant_id": "asking", "input": {"text": "x"}}
        refused: list[tuple[httpx.Response, int, str]] = [
            (olga.get(stream, headers={"Last-Event-ID": "x"}), 422, "Last-Event-ID must be"),
            (olga.get(stream, params={"stream_mode": "nothing"}), 422, "There is no such stream mode"),
            (olga.get(stream, params={"stream_mode": "tools"}), 422, "Tool calls are in updates"),
            (olga.get(stream.replace(thread_id, other)), 404, "no such run"),
            (olga.get(stream.replace("/stream", "/join").replace(thread_id, other)), 404, "no such run"),
            (olga.get(f"/threads/{uuid.uuid4()}/stream"), 404, "no such thread"),
            (olga.post(f"/threads/{thread_id}/runs/stream", json=start), 409, "waits for"),
            (olga.post(f"/threads/{thread_id}/runs/wait", json=start), 409, "waits for"),
            (olga.post(f"/threads/{uuid.uuid4()}/runs/wait", json=start), 404, "no such thread"),
        ]
        for response, status, sentence in refused:
            assert response.status_code == status and sentence in response.json()["error"]["message"], response.text
    with console.rows(_SUBSCRIPTIONS, thread_id) as subscriptions:
        assert subscriptions() == [], "nothing is left of a run that did not begin"


def test_who_may_not_see_threads_sees_no_stream(console: Console) -> None:
    from django.contrib.auth.models import User

    thread_id = console.start_run("asking", {"text": "Ada"})
    console.pending(thread_id)
    with console.api("olga") as olga:
        [run] = olga.get(f"/threads/{thread_id}/runs").json()
    name = f"nobody-{uuid.uuid4().hex[:8]}"
    User.objects.create_user(name)
    with console.api(name) as nobody, httpx.Client(base_url=f"{console.url}/api") as stranger:
        for end in (f"runs/{run['run_id']}/stream", f"runs/{run['run_id']}/join", "stream"):
            assert nobody.get(f"/threads/{thread_id}/{end}").status_code == 403
            assert stranger.get(f"/threads/{thread_id}/{end}").status_code == 401


@pytest.mark.full
def test_a_stream_ends_when_the_person_may_see_it_no_more(
    own_console: Callable[..., Console], busy: Callable[[], None], tmp_path: Path
) -> None:
    console = own_console(TEST_SOCKET_CHECK_SECONDS="1").start()
    thread_id = console.start_run("talking", {**HELLO, "wait_for": str(tmp_path / "busy")})
    with console.api("erin") as erin, console.rows(_NO_GROUPS, "erin") as leave:
        [run] = erin.get(f"/threads/{thread_id}/runs").json()
        path = f"/threads/{thread_id}/runs/{run['run_id']}"
        with erin.stream("GET", f"{path}/stream") as stream, erin.stream("GET", f"{path}/join") as joined:
            leave()
            assert '"error": "Denied"' in stream.read().decode().rpartition("event: error")[2]
            assert json.loads(joined.read())["__error__"]["error"] == "Denied"
    busy()


def test_a_removed_thread_keeps_nothing_of_its_streams(console: Console) -> None:
    thread_id = f"t-{uuid.uuid4()}"
    with console.api("root") as root, console.rows(_PARTS, thread_id) as parts:
        root.post("/threads", json={"thread_id": thread_id}).raise_for_status()
        asked = {"assistant_id": "talking", "input": HELLO}
        root.post(f"/threads/{thread_id}/runs/stream", json=asked).raise_for_status()
        assert parts()
        root.delete(f"/threads/{thread_id}", params={"reason": "Test data."}).raise_for_status()
        assert parts() == []
        assert root.get(f"/threads/{thread_id}/stream").status_code == 410


def test_the_sync_client_and_a_remote_graph_show_a_run(console: Console) -> None:
    with get_sync_client(url=f"{console.url}/api", api_key=None, headers=headers_of(console, "olga")) as client:
        thread_id = client.threads.create()["thread_id"]
        parts = list(client.runs.stream(thread_id, "talking", input=HELLO))
        assert named(parts, "values")[-1]["notes"] == [*NOTES, "answered nobody asked"]
        assert list(client.runs.join_stream(thread_id, parts[0].data["run_id"])) == parts
        graph = RemoteGraph("talking", sync_client=client)
        config: Any = {"configurable": {"thread_id": str(uuid.uuid4())}}
        updates = list(graph.stream({**HELLO, "asks": True}, config))
        assert [list(update) for update in updates] == [["say"], ["wait"], ["look"], ["__interrupt__"]]
        other: Any = {"configurable": {"thread_id": str(uuid.uuid4())}}
        assert graph.invoke(HELLO, other)["notes"] == [*NOTES, "answered nobody asked"]


async def test_a_stream_may_begin_with_a_vote(console: Console, operator: LangGraphClient, thread_id: str) -> None:
    asked: Any = await operator.runs.wait(thread_id, "talking", input={**HELLO, "asks": True})
    [question] = asked["__interrupt__"]
    async with sdk(console, "alice") as alice:
        command: Any = {"resume": {question["id"]: "yes"}}
        parts = await told(alice.runs.stream(thread_id, "talking", command=command, stream_mode=["updates", "values"]))
        assert named(parts, "updates") == [{"ask": {"notes": ["answered yes"]}}]
        assert named(parts, "values")[-1]["notes"] == [*NOTES, "answered yes"]
        with pytest.raises(ConflictError):
            await told(alice.runs.stream(thread_id, "talking", command=command))
    with console.rows(_SUBSCRIPTIONS, thread_id) as subscriptions:
        wait_for(lambda: not subscriptions(), what="the subscriptions to end")


def test_a_server_that_stops_ends_its_streams_and_others_go_on(
    own_console: Callable[..., Console], busy: Callable[[], None], tmp_path: Path
) -> None:
    """Two servers have one database: a client of the one that stops goes on with the other, and misses nothing."""
    first = own_console().start()
    other = Console(first.env | {"DATA_DIR": first.env["DATA_DIR"]}, "--no-worker").start()
    thread_id = first.start_run("talking", {**HELLO, "wait_for": str(tmp_path / "busy")})
    with first.api("olga") as olga, other.api("olga") as client:
        [run] = olga.get(f"/threads/{thread_id}/runs").json()
        path = f"/threads/{thread_id}/runs/{run['run_id']}"
        with client.stream("GET", f"{path}/stream") as stream, client.stream("GET", f"{path}/join") as joined:
            assert stream.status_code == joined.status_code == 200
            assert other.stop() == 0
            begun = stream.read().decode()
            with pytest.raises(httpx.RemoteProtocolError):  # the SDK goes on at Location then
                joined.read()
        assert "event: end" not in begun, "the run goes on"
        busy()
        assert 'event: end\r\ndata: {"status": "success"}' in olga.get(f"{path}/stream").text
        assert olga.get(f"{path}/join").json()["notes"][-1] == "answered nobody asked"


async def test_a_state_and_its_history_are_read_by_a_remote_graph(
    console: Console, operator: LangGraphClient, thread_id: str
) -> None:
    graph = RemoteGraph("talking", client=operator)
    config: Any = {"configurable": {"thread_id": thread_id}}
    values = await graph.ainvoke({**HELLO, "asks": True}, config)
    [asked] = values["__interrupt__"]
    state = await graph.aget_state(config)
    assert (state.next, [each.value for each in state.interrupts]) == (("ask",), [asked["value"]])
    assert state.values["notes"] == NOTES
    history = [each async for each in graph.aget_state_history(config)]
    assert [each.next for each in history] == [("ask",), ("look",), ("wait",), ("say",), ("__start__",)]
    assert history[0].config == state.config
    async with sdk(console, "alice") as alice:
        voter = RemoteGraph("talking", client=alice)
        resumed = [update async for update in voter.astream(Command(resume={asked["id"]: "yes"}), config)]
    assert resumed == [{"ask": {"notes": ["answered yes"]}}]


@pytest.mark.full
def test_a_stream_stays_open_while_another_worker_takes_the_run_over(
    own_console: Callable[..., Console], busy: Callable[[], None], tmp_path: Path
) -> None:
    web = own_console("--no-worker", LEASE_SECONDS="3").start()
    with (tmp_path / "workers.log").open("a") as log, ExitStack() as started, web.api("olga") as olga:

        def work() -> subprocess.Popen[bytes] | forks.Forked:
            worker = forks.start(["manage.py", "procrastinate", "worker"], web.env, log.fileno())
            started.callback(worker.wait, 30)
            started.callback(worker.send_signal, signal.SIGTERM)
            return worker

        first = work()
        thread_id = f"t-{uuid.uuid4()}"
        olga.post("/threads", json={"thread_id": thread_id}).raise_for_status()
        asked = {"assistant_id": "talking", "input": {**HELLO, "wait_for": str(tmp_path / "busy")}}
        asked["stream_mode"] = ["values", "messages-tuple"]
        with olga.stream("POST", f"/threads/{thread_id}/runs/stream", json=asked, timeout=60) as stream:
            folder = Path(web.env["DATA_DIR"])
            wait_for(lambda: times_run(folder, thread_id, "say"), what="the run to begin")
            with web.rows(_PARTS, thread_id) as parts:
                wait_for(lambda: "said" in str(parts()), what="the first step to be told")
            first.kill()
            work()
            busy()
            text = stream.read().decode()
    values = [json.loads(each) for each in re.findall(r"event: values\r\ndata: (.*)\r\n", text)]
    assert [len(each["notes"]) for each in values] == [0, 1, 1, 2, 2, 3], "it begins with where the thread stands"
    assert ": heartbeat\r\n\r\n" in text, "meanwhile the client is told that it is still connected"
    assert text.endswith('event: end\r\ndata: {"status": "success"}\r\n\r\n')
