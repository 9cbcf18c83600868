"""The facts that judges look at, and the diagnosis that they return."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote

from django.db.models import TextChoices

from approvals.domain.diagnosis.words import ended, listed, span
from approvals.domain.roles import ROLES_FOR
from approvals.enums import ThreadStatus


class Health(TextChoices):
    """The state of a thread in one word, for programs."""

    WAITING = "waiting", "Waits for people"
    BREAKPOINT = "breakpoint", "At a breakpoint"
    RUNNING = "running", "Running"
    CRASHED = "crashed", "Crashed"
    POISONED = "poisoned", "Poisoned"
    SUPERSEDED = "superseded", "Superseded"
    DONE = "done", "Done"
    UNKNOWN = "unknown", "Unknown"


@dataclass(frozen=True)
class RunFacts:
    """The thread's newest run. `node` is the one that runs, or failed, since `node_since`."""

    id: str
    status: str
    created_at: datetime
    ended_at: datetime | None = None
    started_by: str = ""
    attempts: int = 0
    retry_at: datetime | None = None
    node: str = ""
    node_since: datetime | None = None
    error: str = ""
    problem: str = ""
    is_answer: bool = False
    """It carries out the answer to a question."""

    @property
    def error_words(self) -> str:
        return ended(": ".join(filter(None, [self.error, self.problem])) or "no error is stored")


@dataclass(frozen=True)
class Asked:
    """A question that waits. `voters` says who may decide, as far as a policy narrows it."""

    id: str
    title: str
    is_breakpoint: bool
    next: tuple[str, ...]
    created_at: datetime
    due_at: datetime | None = None
    voters: str = ""
    not_by: str = ""
    claimed_by: str = ""
    is_votable: bool = True
    why_not: str = ""
    code_digest: str = ""
    inside: tuple[str, ...] = ()
    """The nodes on the way down to the subgraph that stands there."""


@dataclass(frozen=True)
class Facts:
    """Everything a judge may look at. Nodes go by their titles, except in `nodes` and `Asked.next`."""

    now: datetime
    thread_id: str
    status: str = ThreadStatus.IDLE
    graph_id: str = ""
    checkpoint_id: str = ""
    next: tuple[str, ...] = ()
    updated_at: datetime | None = None
    problem: str = ""
    is_unread: bool = False
    unbound: str = ""
    """Why its graph is not certain, so that nothing may be decided or run."""
    fitting: tuple[str, ...] = ()
    is_moved: bool = False
    """Its newest checkpoint is not the one the console has read."""
    is_cleaned: bool = False
    is_poisoned: bool = False
    blocked: tuple[str, ...] = ()
    too_large: str = ""
    """A sentence that says what of it is not shown."""
    lease_worker: str = ""
    lease_until: datetime | None = None
    worker_seen_at: datetime | None = None
    is_worker_silent: bool = False
    """The worker that has the lease has said nothing for so long that it is probably gone."""
    run: RunFacts | None = None
    asked: tuple[Asked, ...] = ()
    """Its open questions, oldest first; of very many the first ones."""
    not_listed: int = 0
    """How many more there are."""
    dropped: str = ""
    """The title of the newest question, if the agent moved on before anybody decided it."""
    can_ask_again: bool = False
    can_go_on: bool = False
    """It may run on from where it stands without input: nobody was asked anything there."""
    has_worker: bool = True
    has_graph_worker: bool = True
    has_card: bool = True
    nodes: Collection[str] = ()
    code_digest: str = ""
    published_at: datetime | None = None

    @property
    def is_graph_gone(self) -> bool:
        return bool(self.graph_id) and not self.has_graph_worker and (self.has_worker or not self.has_card)

    @property
    def is_held(self) -> bool:
        """Whether a worker has the thread, by its lease."""
        return self.lease_until is not None and self.lease_until > self.now

    @property
    def path(self) -> str:
        return f"/api/threads/{quote(self.thread_id, safe='')}"

    @property
    def next_words(self) -> str:
        return ", ".join(self.next) or "a node"

    def ago(self, at: datetime | None) -> str:
        return span((self.now - at).total_seconds()) if at else "a while"

    def until(self, at: datetime | None) -> str:
        return span((at - self.now).total_seconds()) if at else "a while"


@dataclass(frozen=True)
class AdvisedStep:
    """Something that a person can do. `action` names it for programs, `target` is the id of the run or approval."""

    action: str
    text: str
    why: str = ""
    permission: str = ""
    who: str = ""
    call: str = ""
    target: str = ""

    def __str__(self) -> str:
        who = self.people
        return f"{self.text}{f' ({who})' if who else ''}{f': {self.why}' if self.why else ''}."

    def as_dict(self) -> dict[str, str]:
        return {
            "action": self.action,
            "text": self.text,
            "why": self.why,
            "who": self.people,
            "call": self.call,
        }

    @property
    def people(self) -> str:
        return self.who or (listed([f"{role}s" for role in ROLES_FOR[self.permission]]) if self.permission else "")


@dataclass(frozen=True)
class Diagnosis:
    """The result. `kind` is finer than `health`; `word` is short, for lists; `is_moving`: nobody has to do anything."""

    health: Health
    kind: str
    sentence: str
    steps: tuple[AdvisedStep, ...] = ()
    is_moving: bool = False
    word: str = ""
    facts: tuple[tuple[str, str | int | datetime], ...] = field(default=(), compare=False)

    def as_dict(self) -> dict[str, Any]:
        """Return it as the API sends it: `steps` are sentences in order, `actions` the same steps as objects."""
        return {
            "health": self.health.value,
            "kind": self.kind,
            "sentence": self.sentence,
            "steps": [str(step) for step in self.steps],
            "actions": [step.as_dict() for step in self.steps],
            "is_moving": self.is_moving,
            "facts": dict(self.facts),
        }
