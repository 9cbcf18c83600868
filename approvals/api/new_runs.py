"""What a client sends to start a run, or to answer what a thread asks: the body of the LangGraph SDK."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema

from approvals.actions.runs import starts
from approvals.actions.threads import creation
from approvals.actions.votes import resume_votes
from approvals.api.fields import Body, JsonObject, PlainValue, Text
from approvals.domain import assistants
from approvals.domain.permissions import User
from approvals.errors import Invalid, NotOffered
from approvals.models import Run

WEBHOOKS = "A run here calls no webhook. Join it instead: GET /api/threads/ID/runs/RUN_ID/join."
SCHEDULES = "Runs begin as soon as a worker is free. Leave after_seconds out."
QUEUES = "A thread has one run at a time: of multitask_strategy, reject is offered alone."
KEEPING = "Threads are kept. Leave on_completion out, or send keep."
TRACING = "Tracing is set for the whole server, in its environment. Leave langsmith_tracer out."
FEEDBACK = "The console keeps no feedback. Leave feedback_keys out."
JUMPS = (
    "A client cannot jump to a node, as that could pass a gate, nor update the state beside a vote: of a command,"
    " resume is taken alone. A reviewer edits with the vote: POST /api/approvals/ID/votes."
)
EMPTY = "This command says nothing. Send what you answer as `resume`."
INPUT_BESIDE = "A command answers what the thread asks, so there is no input. Leave one of the two out."


GateNodes = Annotated[
    Any, WithJsonSchema({"anyOf": [{"const": "*"}, {"type": "array", "items": {"type": "string"}}, {"type": "null"}]})
]


class Command(Body):
    """`resume` is the vote of the token's person on what the thread asks: the value that `interrupt()` returns.

    Where several questions wait it is an object of answers by interrupt id. At a breakpoint it is `true` to approve, or
    a vote as `POST /api/approvals/{id}/votes` has it: `{"verdict": "reject", "comment": "..."}`.
    """

    resume: PlainValue = None
    update: PlainValue = None
    goto: PlainValue = None


class NewRun(Body):
    """`assistant_id` is the graph's id in langgraph.json; `input` is what LangGraph takes.

    Refused is what certainly does not fit: another type than the graph's schema says, a name that the graph does not
    have. A required field may be missing: the thread may have it, or the graph may do without.

    `context` must fit the graph's context schema; of `config`, `configurable`, `recursion_limit` and `tags` are taken.
    `interrupt_before` and `interrupt_after` add gates to those of the graph, and take none away. All these stay with
    the thread until its next input, so that decisions go on with them. `metadata` is kept with the run and in its
    checkpoints.

    `command.resume` is a vote, under the policy of the question. `checkpoint` must be where the thread stands: an
    earlier one is forked, with `POST .../fork`. Each run is written with `durability` sync, which is the strictest.
    """

    assistant_id: Text = Field(max_length=200, examples=["refund"])
    input: PlainValue = None
    command: Command | None = None
    context: PlainValue = None
    config: PlainValue = None
    metadata: JsonObject | None = None
    checkpoint: dict[str, PlainValue] | None = None
    checkpoint_id: Text | None = Field(None, max_length=64)
    interrupt_before: GateNodes = None
    interrupt_after: GateNodes = None
    if_not_exists: Literal["reject", "create"] = "reject"
    multitask_strategy: Literal["reject", "interrupt", "rollback", "enqueue"] = "reject"
    durability: Literal["sync", "async", "exit"] = "sync"
    checkpoint_during: bool | None = None
    strict_resume: bool | None = None
    stream_mode: PlainValue = None
    stream_subgraphs: bool = False
    stream_resumable: bool = False
    on_disconnect: Literal["continue", "cancel"] | None = None
    on_completion: Literal["keep", "delete"] | None = None
    webhook: PlainValue = None
    after_seconds: PlainValue = None
    feedback_keys: PlainValue = None
    langsmith_tracer: PlainValue = None


def begin_run(thread_id: str, new: NewRun, *, by: User, key: str | None = None) -> Run:
    """Start a run, or cast the vote that a command is and return the run of its decision.

    Raises NotOffered for what a LangGraph server does and this one does not, and what `starts.start_run` or
    `resume_votes.cast` raises.
    """
    for sentence in _not_offered(new):
        raise NotOffered(sentence)
    given: dict[str, Any] = {"context": new.context, "config": new.config, "metadata": new.metadata or {}}
    given["gates"] = {"interrupt_before": new.interrupt_before, "interrupt_after": new.interrupt_after}
    graph_id = assistants.graph_id_of(new.assistant_id)
    where: dict[str, Any] = {"thread_id": thread_id, "graph_id": graph_id, "stands_at": _stands_at(new)}
    if new.command is not None:
        _check_command(new.command, new.input)
        return resume_votes.cast(**where, resume=new.command.resume, **given, key=key, by=by)
    if new.if_not_exists == "create":
        creation.create_thread(thread_id=thread_id, if_exists="do_nothing", by=by)
    return starts.start_run(**where, input=new.input, **given, by=by)


def _not_offered(new: NewRun) -> Iterator[str]:
    asked = {
        WEBHOOKS: new.webhook is not None,
        SCHEDULES: new.after_seconds not in (None, 0),
        QUEUES: new.multitask_strategy != "reject",
        KEEPING: new.on_completion == "delete",
        TRACING: new.langsmith_tracer is not None,
        FEEDBACK: new.feedback_keys not in (None, []),
        JUMPS: new.command is not None and bool(new.command.update is not None or new.command.goto),
    }
    yield from (sentence for sentence, is_asked in asked.items() if is_asked)


def _check_command(command: Command, input: Any) -> None:
    if "resume" not in command.model_fields_set:
        raise Invalid(EMPTY, faults=[{"path": "command/resume", "message": "This is missing."}])
    if input not in (None, {}):
        raise Invalid(INPUT_BESIDE, faults=[{"path": "input", "message": INPUT_BESIDE}])


def _stands_at(new: NewRun) -> str:
    """Return the checkpoint at which the client believes the thread to stand; empty if it does not say."""
    place: dict[str, Any] = new.checkpoint or {}
    return str(place.get("checkpoint_id") or new.checkpoint_id or "")
