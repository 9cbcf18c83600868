"""Frozen records that leave this package. Everything in them is plain data: it can be sent as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from agentcore.plain.namespaces import path_of

NOTHING_RAN = "NothingRan"
"""The error of a run that carried nothing out: no node began, so the question is asked anew."""

NODE_GONE = "NodeGone"
"""The error of a run that carried nothing out, because its graph has other nodes than the question named."""


class Serializer(Protocol):
    """Turns values of a checkpoint into type and bytes, and back; LangGraph's own protocol."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]: ...

    def loads_typed(self, data: tuple[str, bytes]) -> Any: ...


@dataclass(frozen=True)
class PendingInterrupt:
    """An `interrupt()` that waits: `id` is 32 hex digits, `value` is the agent's own payload, as plain data.

    `path` are the nodes down to the one that asks, where that is inside subgraphs. `is_poisoned`: an answer is stored
    that the node failed with, and it would be given that one again, whatever people say now. `after` are the ids of
    the questions of the same node that have their answers. `is_raised`: a node raised it, as `NodeInterrupt` does: it
    takes no answer, and goes on once the state is mended; `id` is then made from its task. `has_objects`: the payload
    itself holds types that JSON does not have.
    """

    id: str
    value: Any
    node: str
    response_schema: dict[str, Any] | None = None
    path: tuple[str, ...] = ()
    is_poisoned: bool = False
    after: tuple[str, ...] = field(default=(), compare=False)
    is_raised: bool = False
    has_objects: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class GateTask:
    """A task that would run if a gate were passed. `path` are the nodes from the outermost graph down to its own.

    `namespace` and `checkpoint_id` say where its own graph stands. `is_sent`: it came by a `Send`, the one at `place`
    in the checkpoint, which carries `sent` to it, as plain data; any other task reads the state. `opaque` are the
    arguments in it that an edit would spoil; an empty name stands for all of them.
    """

    id: str
    node: str
    path: tuple[str, ...]
    namespace: str
    checkpoint_id: str
    is_sent: bool = False
    sent: Any = None
    place: int = -1
    opaque: tuple[str, ...] = ()


@dataclass(frozen=True)
class Gate:
    """A breakpoint at which a thread stands: `interrupt_before` or `interrupt_after`, and the nodes named there.

    `ran` are the nodes of the step before: an edit can come from one of these and from no other. `tasks` are those
    that wait behind it, each by itself.
    """

    when: Literal["before", "after"]
    nodes: tuple[str, ...]
    ran: tuple[str, ...] = field(default=(), compare=False)
    tasks: tuple[GateTask, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class Snapshot:
    """One checkpoint as plain data. `next` are the nodes that would run; `opaque` the channels that hold objects."""

    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str
    parent_checkpoint_id: str | None
    created_at: str | None
    step: int | None
    source: str | None
    metadata: dict[str, Any]
    values: dict[str, Any]
    next: tuple[str, ...]
    interrupts: tuple[PendingInterrupt, ...] = ()
    gate: Gate | None = None
    tasks: tuple[dict[str, Any], ...] = ()
    """`{id, name, path, error, interrupts}` as the LangGraph SDK has them."""
    opaque: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()
    """Types that were not built, as `module.Class`: nodes would get bare data in their place."""
    answers: Mapping[str, Any] = field(default_factory=dict)
    """Answers that LangGraph has stored at this checkpoint, by the id of their interrupt, as plain data."""
    running: tuple[str, ...] = ()
    """Where questions wait: the nodes of the same step that neither have ended nor ask."""
    secrets: tuple[str, ...] = ()
    """Channels and dotted paths of secrets; `masks.hidden` returns the snapshot without them."""
    inner: "tuple[Snapshot, ...]" = ()
    """The subgraphs that stand at a breakpoint, each as a snapshot of its own namespace."""
    unseen: tuple[str, ...] = ()
    """Namespaces of waiting tasks whose graph cannot be found, so that their state cannot be read."""
    sent: tuple[dict[str, Any], ...] = ()
    """`{node, args}` of each pending Send: what runs next, and is not in the state."""

    @property
    def path(self) -> tuple[str, ...]:
        """The nodes on the way down to the subgraph; none for the thread's own graph."""
        return path_of(self.checkpoint_ns)

    def at(self, namespace: str) -> "Snapshot | None":
        """Return the snapshot of a namespace: this one, or a subgraph's that stands at a breakpoint."""
        return next((each for each in (self, *self.inner) if each.checkpoint_ns == namespace), None)

    @property
    def errors(self) -> tuple[str, ...]:
        return tuple(task["error"] for task in self.tasks if task["error"])

    @property
    def is_paused(self) -> bool:
        return bool(self.interrupts or self.gate or self.inner)

    @property
    def waiting(self) -> tuple[str, ...]:
        """Return the nodes of the step that is to come, or is under way; none at the end of the graph.

        `next` lacks those whose writes are stored already: a process that dies right then leaves it empty.
        """
        return tuple(task["name"] for task in self.tasks)


@dataclass(frozen=True)
class Traits:
    """What a graph has, or what a thread shows of its graph."""

    agent: str
    nodes: frozenset[str]
    channels: frozenset[str]
    tools: frozenset[str]

    def lacks(self, shown: "Traits") -> str:
        """Say what of `shown` this graph has not; an empty string if it has all of it."""
        if shown.agent and shown.agent != self.agent:
            return f"it is not the agent {shown.agent}"
        for kind, here, there in (
            ("node", self.nodes, shown.nodes),
            ("tool", self.tools, shown.tools),
            ("channel", self.channels, shown.channels),
        ):
            if missing := sorted(there - here):
                return f"it has no {kind} {', '.join(missing[:3])}"
        return ""


@dataclass(frozen=True)
class Shown:
    """What a thread says, as `graph_id` and `agent`, and shows. `is_whole`: nothing was left out for its size."""

    claims: dict[str, str]
    traits: Traits
    is_whole: bool = True


@dataclass(frozen=True)
class Look:
    """A checkpoint as plain data, read without its graph. `ran` are the nodes that have run on the thread."""

    metadata: dict[str, Any]
    ran: tuple[str, ...]
    values: dict[str, Any]
    checkpoint_id: str = ""
    parent_checkpoint_id: str | None = None
    created_at: str = ""
    waits: tuple[str, ...] = ()
    """Nodes that would run next, as far as that can be told."""
    asked: tuple[dict[str, Any], ...] = ()
    """Questions that wait, as `{id, value}`."""
    has_ended: bool = False
    """Nothing waits, and nothing failed, in any way that LangGraph has: so it can be told without the graph."""
    shown: Shown | None = None
    """What tells of its graph."""


@dataclass(frozen=True)
class Action:
    """What would happen after a yes: a node or a tool with its arguments."""

    name: str
    args: Any
    description: str = ""
    allowed: tuple[str, ...] = ()
    schema: dict[str, Any] | None = None
    title: str = ""
    described_by: str = "author"
    """Who wrote the description: the `author` of the graph, in a node's metadata, or the `agent` as it ran."""
    call_id: str = ""
    """Of the tool call it is about, where the agent says so."""


@dataclass(frozen=True)
class Gist:
    """One line about a question: what would be done, how much, and for whom. See `gist.py`."""

    headline: str = ""
    detail: str = ""
    action: str = ""
    """What is done, in words: a list groups by it."""
    amount: str = ""
    """A decimal number with four places; empty where nothing says how much."""
    currency: str = ""
    customer: str = ""
    risk: str = ""


@dataclass(frozen=True)
class Pause:
    """One question to people, read from a snapshot by the dialect `kind`."""

    kind: str
    interrupt_id: str
    next: tuple[str, ...]
    title: str
    summary: str
    request: Any
    actions: tuple[Action, ...]
    allowed_verdicts: tuple[str, ...]
    answer_schema: dict[str, Any] | None = None
    why_not: str = ""
    """A sentence for people when `allowed_verdicts` is empty."""
    tools: tuple[str, ...] = ()
    """Tools that would be called, as far as the agent says so: a policy may be about one."""
    checkpoint_ns: str = ""
    """Of the subgraph whose breakpoint it is; empty for the thread's own graph, and for every `interrupt()`."""
    gist: Gist = Gist()

    @property
    def path(self) -> tuple[str, ...]:
        """The nodes on the way down to that subgraph."""
        return path_of(self.checkpoint_ns)


@dataclass(frozen=True)
class Question:
    """A pause as it was stored: what a dialect needs to read and write answers. `value` is the agent's own payload."""

    kind: str
    value: Any
    actions: Sequence[Mapping[str, Any]]
    answer_schema: dict[str, Any] | None = None


@dataclass(frozen=True)
class Choice:
    """What people chose for one action: `verdict` is approve, edit (with `args`), reject or respond (`message`)."""

    verdict: str
    args: Any = None
    message: str = ""


@dataclass(frozen=True)
class Call:
    """A tool that ran, with the arguments it was given."""

    name: str
    args: Any
    id: str = ""


@dataclass(frozen=True)
class Paused:
    """The run stopped in front of people."""

    snapshot: Snapshot


@dataclass(frozen=True)
class Finished:
    """The run reached the end of the graph."""

    snapshot: Snapshot


@dataclass(frozen=True)
class Failed:
    """A node raised, or the run was too long. `error` is a class name; `message` is for those who may see the state."""

    error: str
    message: str
    node: str = ""


@dataclass(frozen=True)
class Mismatch:
    """The thread was not where the caller believed, or an edit not what was shown; nothing was run."""

    expected: str
    found: str | None
    reason: str = "The agent moved the thread before this run began, so the decision was not carried out."
    changes: tuple[str, ...] = ()
    """What had changed behind the question, where that is known."""


Outcome = Paused | Finished | Failed | Mismatch


@dataclass(frozen=True)
class Step:
    """A node began or ended inside a run. `state` is `running`, `done` or `failed`."""

    task_id: str
    node: str
    state: Literal["running", "done", "failed"]


@dataclass(frozen=True)
class ChannelChange:
    """One channel that an edit changes, before and after, as plain data."""

    channel: str
    before: Any
    after: Any
    op: str = ""


@dataclass(frozen=True)
class Preview:
    """What an edit would give. `digest` names the values after it, `next`, and what Sends carry there (`sent`)."""

    values_before: dict[str, Any]
    values: dict[str, Any]
    next_before: tuple[str, ...]
    next: tuple[str, ...]
    diff: tuple[ChannelChange, ...]
    digest: str
    sent: tuple[dict[str, Any], ...] = ()
    title: str = ""
    """What would run next, as a question about it; empty at the end of the graph, and together with an answer."""
    summary: str = ""
    actions: tuple[Action, ...] = ()


@dataclass(frozen=True)
class Channel:
    """A channel of the state. `is_reducer`: a value is merged in, so an edit must say append or replace.

    `merges` is `replaces`, `appends`, `adds`, `messages`, `keys` or `other`; `words` says it to people. Cards of
    earlier workers have neither.
    """

    name: str
    type: str
    is_reducer: bool
    schema: dict[str, Any] = field(default_factory=dict)
    merges: str = ""
    words: str = ""


@dataclass(frozen=True)
class GraphCard:
    """What the web process knows of a graph without importing it."""

    id: str
    nodes: tuple[dict[str, Any], ...]
    """`{id, title, description, gate, approval}`; `gate` is `before`, `after` or null."""
    edges: tuple[dict[str, Any], ...]
    """`{source, target, conditional}`"""
    channels: tuple[Channel, ...]
    input_schema: dict[str, Any] | None
    input_schema_problem: str
    code_digest: str
    secrets: tuple[str, ...] = ()
    """Channels and dotted paths of secrets."""
    agent: str = ""
    """The name that `create_agent` was given: it stands in the metadata of each checkpoint."""
    tools: tuple[str, ...] = ()
    """Names of the tools of its tool nodes, subgraphs included."""
    all_channels: tuple[str, ...] = ()
    """Also those that are not part of its output, but none of LangGraph's own."""
    input_limits: dict[str, Any] | None = None
    """The JSON Schema of what an input certainly must be. LangGraph alone decides on the rest."""
    context_schema: dict[str, Any] | None = None
    """The JSON Schema of the context of a run."""
    needed: tuple[str, ...] = ()
    """Fields of the input that the start form of a new thread asks for."""
    subgraphs: Mapping[str, "GraphCard"] = field(default_factory=dict)
    """The cards of its subgraphs, by the nodes on the way down, joined by `|`."""

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> "GraphCard":
        """Read a card that was stored as JSON; earlier workers wrote fewer fields."""
        below = {path: cls.of(card) for path, card in plain.get("subgraphs", {}).items()}
        channels = tuple(Channel(**channel) for channel in plain["channels"])
        names = {name: tuple(plain.get(name, ())) for name in ("secrets", "tools", "all_channels", "needed")}
        return cls(**{**plain, "channels": channels, **names, "subgraphs": below})

    def channel(self, name: str) -> Channel | None:
        return next((channel for channel in self.channels if channel.name == name), None)
