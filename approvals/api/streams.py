"""Runs that a client waits for or watches, as with a LangGraph server: events of the server (SSE), or JSON in the end.

Each answer begins at once and stays open. It sends a sign of life every few seconds, and ends when the run stops.
"""

import json
import logging
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

from django.core.handlers.asgi import ASGIRequest
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from ninja import Query, Router
from psycopg_pool import PoolTimeout
from pydantic import BeforeValidator, Field

from agentcore.plain.streams import MODES
from approvals.actions.runs import results, streams
from approvals.actions.runs.streams import Heartbeat, RunStream, SentPart, ThreadStream
from approvals.actions.runs.subscriptions import StreamFilter, Subscriber
from approvals.api.auth import viewer
from approvals.api.errors import answers
from approvals.api.fields import PlainObject, QueryFilters, ThreadId
from approvals.api.new_runs import NewRun, begin_run
from approvals.api.runs import location_of
from approvals.api.schemas import SDK_STATUS
from approvals.database import in_database
from approvals.errors import THREAD_CLEANED, Gone, Invalid, NotFound, Refusal
from approvals.live import outlets
from approvals.models import Run, Thread

logger = logging.getLogger(__name__)

router = Router(tags=["streams"])
DEFAULT = ("values",)
OF_THREAD = ("values", "updates", "messages-tuple", "custom")
"""What a stream of a thread has with `run_modes`."""
FROM_THE_BEGINNING = -1
LONGEST_NUMBER = 18
_EVENTS: dict[str, Any] = {
    "responses": {
        200: {"content": {"text/event-stream": {"schema": {"type": "string", "description": "Events (SSE)."}}}}
    }
}
_HEARTBEAT = b": heartbeat\r\n\r\n"
EVENTS, TASKS = "events", "tasks"
_NOT_OFFERED = {
    "tools": "Tool calls are in updates, messages-tuple and tasks.",
    "lifecycle": "A stream of a thread has it: GET /api/threads/ID/stream?stream_mode=lifecycle.",
}


def _as_list(value: Any) -> Any:
    """Take `values`, `["values"]`, nothing and, in an address, `["values","updates"]` written as JSON."""
    if value in ([""], ["null"]):
        return []
    if not (isinstance(value, list) and len(value) == 1 and str(value[0]).startswith("[")):
        return value
    try:
        return json.loads(value[0])
    except ValueError:
        return value


class RunStreamFilters(QueryFilters):
    """`cancel_on_disconnect`: cancel the run if this client leaves before it stops."""

    stream_mode: Annotated[list[str], BeforeValidator(_as_list)] = Field(default_factory=list)
    stream_subgraphs: bool = False
    cancel_on_disconnect: bool = False


class ThreadStreamFilters(QueryFilters):
    """`run_modes` has what runs tell while they are at work, `lifecycle` that they begin and end."""

    stream_mode: Annotated[list[str], BeforeValidator(_as_list)] = Field(default_factory=list)


@router.post(
    "/threads/{part:thread_id}/runs/stream", response=answers(None, 404, 409, 410, 413, 501), openapi_extra=_EVENTS
)
def stream_run(request: HttpRequest, thread_id: ThreadId, new: NewRun) -> HttpResponse:
    """Do what `POST .../runs` does, and stream the run while it is at work, as events of the server (SSE).

    The first event is `metadata` with the run's id; then come those of `stream_mode`, `values` by default. A run that
    pauses has `__interrupt__` in the last values and updates. `error` says what went wrong; `end` that the run stopped.
    """
    by = viewer(request)
    streams.check_room()
    names = _names(new.stream_mode)
    asked = StreamFilter(_modes(names) or DEFAULT, new.stream_subgraphs, new.stream_resumable)
    subscriber = Subscriber(thread_id, asked)  # before the run: it tells only what is asked for
    try:
        run = begin_run(thread_id, new, by=by, key=request.headers.get("Idempotency-Key"))
    except BaseException:
        subscriber.leave()
        raise
    stream = RunStream(thread_id, asked, by, subscriber=subscriber, run_id=run.pk)
    stream.is_to_cancel = new.on_disconnect == "cancel"
    return _events_of(request, stream, run, asked, names)


@router.post("/threads/{part:thread_id}/runs/wait", response=answers(PlainObject, 404, 409, 410, 413, 501))
def wait_for_run(request: HttpRequest, thread_id: ThreadId, new: NewRun) -> HttpResponse:
    """Do what `POST .../runs` does, and answer with the thread's values when the run has stopped.

    A run that pauses has what it asks in `__interrupt__`, one that failed is `{"__error__": {"error", "message"}}`.
    """
    by = viewer(request)
    streams.check_room()
    run = begin_run(thread_id, new, by=by, key=request.headers.get("Idempotency-Key"))
    stream = RunStream(thread_id, StreamFilter(()), by, run_id=run.pk)
    stream.is_to_cancel = new.on_disconnect == "cancel"
    return _result_of(request, stream, run)


@router.get("/threads/{part:thread_id}/runs/{run_id}/join", response=answers(PlainObject, 404))
def join_run(request: HttpRequest, thread_id: ThreadId, run_id: UUID, how: Query[RunStreamFilters]) -> HttpResponse:
    """Wait until the run has stopped, at a pause too; the answer is as that of `POST .../runs/wait`."""
    by = viewer(request)
    streams.check_room()
    run = _run(thread_id, run_id)
    stream = RunStream(thread_id, StreamFilter(()), by, run_id=run.pk)
    stream.is_to_cancel = how.cancel_on_disconnect
    return _result_of(request, stream, run)


@router.get("/threads/{part:thread_id}/runs/{run_id}/stream", response=answers(None, 404), openapi_extra=_EVENTS)
def join_stream(request: HttpRequest, thread_id: ThreadId, run_id: UUID, how: Query[RunStreamFilters]) -> HttpResponse:
    """Stream a run that was started elsewhere, as `POST .../runs/stream` does: what is kept of it, then what comes.

    `Last-Event-ID` is the id of the last event that is known; without it, and with -1, it begins with the first. What a
    run told is kept where somebody had asked for it, for a quarter of an hour at least, and 16 MB of each run at most.
    """
    by = viewer(request)
    streams.check_room()
    run, names = _run(thread_id, run_id), _names(how.stream_mode)
    modes = _modes(names)
    after = _last_event(request)
    wanted = StreamFilter(modes or DEFAULT, how.stream_subgraphs)
    subscriber = Subscriber(thread_id, wanted) if run.is_active else None
    shown = StreamFilter(modes or MODES, has_subgraphs=True)
    stream = RunStream(thread_id, shown, by, after=after, subscriber=subscriber, run_id=run.pk)
    stream.is_to_cancel = how.cancel_on_disconnect
    return _events_of(request, stream, run, wanted, names)


@router.get("/threads/{part:thread_id}/stream", response=answers(None, 404, 410), openapi_extra=_EVENTS)
def join_thread_stream(request: HttpRequest, thread_id: ThreadId, how: Query[ThreadStreamFilters]) -> HttpResponse:
    """Stream all runs of a thread from now on, or from `Last-Event-ID`, whoever starts them. It ends with the client.

    `metadata` begins each run, and `{"status": "run_done", "run_id": ...}` ends it.
    """
    by = viewer(request)
    streams.check_room()
    thread = Thread.objects.filter(pk=thread_id).only("cleaned_at").first()
    if thread is None:
        raise NotFound("There is no such thread.")
    if thread.cleaned_at:
        raise Gone(THREAD_CLEANED)
    wanted = StreamFilter(_modes_of_thread(how.stream_mode))
    subscriber = Subscriber(thread_id, wanted) if wanted.modes else None
    shown = StreamFilter(wanted.modes, has_subgraphs=True)
    stream = ThreadStream(thread_id, shown, by, after=_last_event(request), subscriber=subscriber)
    return _events_of(request, stream)


def _run(thread_id: str, run_id: UUID) -> Run:
    run = Run.objects.filter(pk=run_id, thread_id=thread_id).only("status", "thread_id").first()
    if run is None:
        raise NotFound("The thread has no such run.")
    return run


def _names(given: Any) -> list[str]:
    """Return the modes as the client names them. Raises Invalid for what is not streamed here."""
    names = [given] if isinstance(given, str) else given or []
    if not isinstance(names, list):
        raise _unknown(given)
    for name in names:
        if name not in (*MODES, EVENTS):
            raise _unknown(name)
    return names


def _modes(names: list[str]) -> tuple[str, ...]:
    """Return what a run is to tell. Events are made of its tasks: they say which node begins and ends."""
    return tuple(dict.fromkeys(TASKS if name == EVENTS else name for name in names))


def _unknown(mode: Any) -> Invalid:
    told = _NOT_OFFERED.get(mode) if isinstance(mode, str) else None
    sentence = told or f"There is no such stream mode. Known are {', '.join(MODES)}."
    return Invalid(sentence, faults=[{"path": "stream_mode", "message": sentence}])


def _modes_of_thread(given: list[str]) -> tuple[str, ...]:
    """Return what runs are to tell, for the modes that a stream of a thread has, or for those of a run."""
    of_thread = {"run_modes": OF_THREAD, "lifecycle": (), "state_update": ()}
    asked = given or ["run_modes"]
    own = [mode for mode in asked if mode not in of_thread]
    return tuple(dict.fromkeys([*_modes(_names(own)), *(each for mode in asked for each in of_thread.get(mode, ()))]))


def _last_event(request: HttpRequest) -> int | None:
    """Return the number of the last event that the client knows; None if it does not say."""
    given = request.headers.get("Last-Event-ID", "").strip()
    if not given:
        return None
    if given == str(FROM_THE_BEGINNING):
        return 0
    if not (given.isascii() and given.isdigit() and len(given) <= LONGEST_NUMBER):
        raise Invalid("Last-Event-ID must be the id of an event of this stream, or -1 to begin with the first.")
    return int(given)


def _events_of(
    request: HttpRequest,
    stream: RunStream | ThreadStream,
    run: Run | None = None,
    wanted: StreamFilter | None = None,
    names: Sequence[str] = (),
) -> HttpResponse:
    """Begin a stream. Its client goes on at another address if it loses the connection, and asks for the same there."""
    response = _begun(request, _sent(stream, names), "text/event-stream; charset=utf-8")
    if run and wanted:
        place = location_of(run)
        again = {"stream_mode": names or wanted.modes, **({"stream_subgraphs": "true"} if wanted.has_subgraphs else {})}
        response["Content-Location"], response["Location"] = place, f"{place}/stream?{urlencode(again, doseq=True)}"
    return response


def _result_of(request: HttpRequest, stream: RunStream, run: Run) -> HttpResponse:
    response = _begun(request, _awaited(stream), "application/json")
    place = location_of(run)
    response["Content-Location"], response["Location"] = place, f"{place}/join"
    return response


def _begun(request: HttpRequest, body: AsyncGenerator[bytes, None], content_type: str) -> HttpResponse:
    assert isinstance(request, ASGIRequest)
    outlets.outlet_of(request.scope).body = body
    response = HttpResponse(content_type=content_type)
    response["X-Accel-Buffering"] = "no"  # proxies pass each piece on at once
    return response


async def _sent(stream: RunStream | ThreadStream, names: Sequence[str]) -> AsyncGenerator[bytes, None]:
    """Yield the events of the server. An outage of the database ends them without `end`: clients come again."""
    try:
        async with aclosing(stream.follow()) as followed:
            async for told in followed:
                if told is Heartbeat:
                    yield _HEARTBEAT
                    continue
                for each in _as_named(told, names):
                    yield _event(each)
    except Refusal as refused:
        yield _event(SentPart("error", json.dumps(_error(refused))))
    except (DatabaseError, PoolTimeout) as error:
        logger.warning("a stream ended early (%s)", type(error).__name__)


def _as_named(told: SentPart, names: Sequence[str]) -> Iterator[SentPart]:
    """Yield a part as it was asked for: what a task tells as itself, as an event, or as both."""
    if EVENTS not in names or told.name.partition("|")[0] != TASKS:
        yield told
        return
    if TASKS in names:
        yield told
    yield told._replace(
        name=told.name.replace(TASKS, EVENTS, 1), data=json.dumps(_event_of_task(json.loads(told.data)))
    )


def _event_of_task(task: Mapping[str, Any]) -> dict[str, Any]:
    """Return which node begins or ends, as LangChain tells it of the call of a node."""
    node = task.get("name", "")
    return {
        "event": "on_chain_start" if "input" in task else "on_chain_end",
        "name": node,
        "run_id": task.get("id", ""),
        "data": {},
        "metadata": {"langgraph_node": node},
        "tags": [],
        "parent_ids": [],
    }


async def _awaited(stream: RunStream) -> AsyncGenerator[bytes, None]:
    """Yield line breaks, which JSON may begin with, and then the result."""
    try:
        async with aclosing(stream.follow()) as followed:
            async for told in followed:
                if told is Heartbeat:
                    yield b"\n"
        result = await in_database(streams.result)(stream)
    except Refusal as refused:
        result = {results.ERROR: _error(refused)}
    yield json.dumps(result).encode()


def _error(refused: Refusal) -> dict[str, str]:
    return {"error": type(refused).__name__, "message": refused.message}


def _event(told: SentPart) -> bytes:
    data = json.dumps(_end(told.data)) if told.name == "end" else told.data
    name = told.name.replace("\r", "").replace("\n", "")
    number = f"id: {told.number}\r\n" if told.number is not None else ""
    return f"event: {name}\r\ndata: {data}\r\n{number}\r\n".encode()


def _end(status: str) -> dict[str, Any]:
    return {"status": SDK_STATUS[status]}
