"""The console's tables. Checkpoints stay LangGraph's; every row here can be read without building an object."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import F, Func, Q, Value
from django.db.models.expressions import RawSQL
from django.db.models.functions import Now
from django.utils import timezone

from agentcore.plain.namespaces import path_of
from agentcore.plain.types import GraphCard
from agentcore.testing.failpoints import reach
from approvals.compiled import compiled
from approvals.enums import (
    ACTIVE_RUNS,
    STUCK_RUNS,
    ApprovalStatus,
    Binding,
    ChangeKind,
    ChangeStatus,
    OnCrash,
    OnDeadline,
    RunKind,
    RunStatus,
    ThreadStatus,
    Verdict,
    VoteEnd,
)
from approvals.fields import CanonicalJSONField


class Graph(models.Model):
    """The card of a graph, published by a worker that loaded it."""

    id = models.CharField(primary_key=True, max_length=200)
    card = models.JSONField()
    published_at = models.DateTimeField(default=timezone.now)
    nodes = models.GeneratedField(
        expression=Func("card", Value("$.nodes[*].id"), function="jsonb_path_query_array"),
        output_field=models.JSONField(),
        db_persist=True,
    )
    """Their ids. Lists read them, and the card is large."""

    def __str__(self) -> str:
        return self.id

    @property
    def record(self) -> GraphCard:
        return GraphCard.of(self.card)

    def at(self, path: Sequence[str]) -> Graph:
        """Return the card of the subgraph at that path; the graph's own card where no worker published one."""
        card = self.card.get("subgraphs", {}).get("|".join(path))
        if card is None:
            return self
        told = {name: self.card[name] for name in ("code_digest", "secrets") if name in self.card}
        return Graph(pk=self.pk, card={**card, **told}, published_at=self.published_at)

    def node_title(self, node: str) -> str:
        return next((item["title"] for item in self.card["nodes"] if item["id"] == node), node)


class Worker(models.Model):
    """A process that carries out runs. It updates its row every few seconds; the row of a killed one grows old."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=40)
    """Host and process, as leases have it."""
    graphs = models.JSONField(default=list)
    broken = models.JSONField(default=dict)
    """A sentence for each graph of langgraph.json that it could not load."""
    started_at = models.DateTimeField(db_default=Now())
    seen_at = models.DateTimeField(db_default=Now(), db_index=True)

    def __str__(self) -> str:
        return self.name


class ThreadQuerySet(models.QuerySet["Thread"]):
    def locked(self, thread_id: str) -> Thread:
        """Return the thread and lock its row: before any other row that is its own. Raises Thread.DoesNotExist.

        `state` and `metadata` are not read: they may be large, and PostgreSQL ends no transaction of a process that is
        frozen while it receives a row. `save` leaves them as they are, unless they were set.
        """
        thread = self.find_locked(thread_id)
        if thread is None:
            raise self.model.DoesNotExist(f"no thread {thread_id}")
        return thread

    def lock(self, thread_id: str) -> None:
        """Lock the row, and read nothing of it."""
        _lock(pk=thread_id)
        reach("thread.locked")

    def find_locked(self, thread_id: str) -> Thread | None:
        """Do what `locked` does; return None if there is no such thread."""
        found = self._locked(thread_id) if self.query.has_filters() else _locked(pk=thread_id)
        if not found:
            return None
        reach("thread.locked")
        return found[0]

    def _locked(self, thread_id: str) -> ThreadQuerySet:
        # Not its `reading`: where this waits for the lock, PostgreSQL reads the locked row anew, but no joined one.
        locked = self.select_related("started_by").select_for_update(of=("self",)).defer("state", "metadata")
        return locked.filter(pk=thread_id)


@compiled
def _lock(pk: str) -> ThreadQuerySet:
    return Thread.objects.filter(pk=pk).select_for_update().only("pk")


@compiled
def _locked(pk: str) -> ThreadQuerySet:
    return Thread.objects.all()._locked(pk)


class Thread(models.Model):
    """A LangGraph thread as last read, and the lease of the worker that holds it.

    A column that Django does not know, `search`, has the words of title and id; the database fills it (migration 0019).
    """

    id = models.CharField(primary_key=True, max_length=255)
    graph_id = models.CharField(max_length=200, blank=True)
    title = models.CharField(max_length=300, blank=True)
    status = models.CharField(max_length=12, choices=ThreadStatus, default=ThreadStatus.IDLE)
    metadata = models.JSONField(default=dict)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    started_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")

    checkpoint_id = models.CharField(max_length=64, blank=True)
    step = models.IntegerField(null=True)
    next = models.JSONField(default=list)
    state = CanonicalJSONField(default=dict)
    problem = models.TextField(blank=True)
    blocked = models.JSONField(default=list)
    """Types in the state that its graph does not allow, as `module.Class`."""
    is_poisoned = models.BooleanField(default=False)
    """An answer is stored with a question here that its node failed with."""

    options = CanonicalJSONField(default=dict)
    """Context and config of its runs, as they came with the last input."""
    authors = models.JSONField(default=list)
    """Who gave the thread its content, through forks too: `authors.Author` as plain data."""
    forked_from = models.CharField(max_length=255, blank=True, db_index=True)
    """The thread this one is a fork of; that one may be gone."""
    forked_at = models.CharField(max_length=64, blank=True)
    """The checkpoint, which has the same id in both."""

    bound_by = models.CharField(max_length=8, choices=Binding, blank=True)
    """How it is known that the thread is of `graph_id`; empty: it is not, and nobody decides or runs anything here."""
    bound_who = models.CharField(max_length=150, blank=True)
    claims = models.JSONField(default=dict)
    """What its checkpoints said of their graph when it was bound: `graph_id` and `agent`."""
    unbound = models.JSONField(null=True)
    """Why its graph is not certain: `bindings.Uncertain` as plain data."""

    fence = models.BigIntegerField(default=0)
    lease_owner = models.CharField(max_length=64, blank=True)
    lease_until = models.DateTimeField(null=True)
    cleaned_at = models.DateTimeField(null=True)

    objects = ThreadQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["-updated_at", "-id"]),
            models.Index(fields=["status", "-updated_at"]),
            models.Index(fields=["graph_id", "-updated_at", "-id"], name="threads_by_graph"),
        ]

    def __str__(self) -> str:
        return self.title or self.id

    def get_absolute_url(self) -> str:
        from django.urls import reverse

        return reverse("thread", args=[self.id])

    def keep_reading(self, other: Thread) -> None:
        """Take the reading over from another instance of this thread, with which it was selected after the lock."""
        reading = Thread._meta.get_field("reading")
        reading.set_cached_value(self, reading.get_cached_value(other))

    def reading_for(self, approval: Approval) -> Reading | Approval:
        """Return what says which stored bytes an open question rests on: the newest reading of its step, or itself.

        Where it decides something, it is read after the thread's row was locked.
        """
        reading: Reading | None = getattr(self, "reading", None)
        return reading if reading and reading.checkpoint_id == approval.head else approval


class Reading(models.Model):
    """The stored bytes of a step as read after one of its questions was answered. Those still open rest on these.

    It is one row and one entry, however many questions are open: their own rows stay as they were asked.
    """

    thread = models.OneToOneField(Thread, primary_key=True, on_delete=models.PROTECT, related_name="reading")
    checkpoint_id = models.CharField(max_length=64)
    """The thread's newest checkpoint. Questions that were asked at another one do not rest on this."""
    head_writes = models.CharField(max_length=32, blank=True)
    bound = models.JSONField(null=True)

    def __str__(self) -> str:
        return f"{self.thread_id} at {self.checkpoint_id}"


APPROVAL_CONTENT = ("state", "request", "actions", "answer_schema", "proposal")
"""Columns that are as large as agents and people make them."""
DECISION_CONTENT = ("edits", "answer")


_PENDING = RawSQL("'pending'", [], output_field=models.CharField())
"""Written into the statement: as a parameter it would let no prepared statement use an index of what is pending."""


class ApprovalQuerySet(models.QuerySet["Approval"]):
    def pending(self) -> ApprovalQuerySet:
        return self.filter(status=_PENDING)

    def decided(self) -> ApprovalQuerySet:
        """Select what waits no longer, however it was closed."""
        return self.exclude(status=_PENDING)

    def without_content(self) -> ApprovalQuerySet:
        """Leave large columns in the database, as whoever holds a lock must; see `Thread.objects.locked`."""
        return self.defer(*APPROVAL_CONTENT)

    def oldest_first(self) -> ApprovalQuerySet:
        return self.order_by("created_at", "id")

    def most_urgent_first(self) -> ApprovalQuerySet:
        """Order by deadline, without a deadline last, then oldest first."""
        return self.order_by("due_at", "created_at", "id")

    def claimed(self) -> ApprovalQuerySet:
        return self.filter(claimed_until__gt=Now(), claimed_by__isnull=False)

    def unclaimed(self) -> ApprovalQuerySet:
        return self.filter(Q(claimed_until=None) | Q(claimed_until__lte=Now()) | Q(claimed_by=None))


class Approval(models.Model):
    """One pause that waits for people. `state`, `request` and `digest` are what was shown, and never change.

    The database fills two columns that Django does not know (migrations 0019 and 0027): `search` has the words of
    title, summary, headline, customer and thread id, `open_search` the same while it is pending.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    thread = models.ForeignKey(Thread, on_delete=models.PROTECT, related_name="approvals")
    graph_id = models.CharField(max_length=200, blank=True)
    checkpoint_ns = models.CharField(max_length=500, blank=True)
    checkpoint_id = models.CharField(max_length=64)
    head_id = models.CharField(max_length=64, blank=True)
    """The thread's newest checkpoint when it was asked, where that is another: a subgraph stands at the breakpoint."""
    head_writes = models.CharField(max_length=32, blank=True)
    bound = models.JSONField(null=True)
    """Stamps and digests of every stored byte that its tasks can read (`bound_bytes`); none for older questions."""
    interrupt_id = models.CharField(max_length=64, blank=True)
    task_id = models.CharField(max_length=64, blank=True)
    """Of the task that asks, in the thread's own graph; empty at a breakpoint and for older questions."""
    kind = models.CharField(max_length=20)
    next = models.JSONField()
    title = models.CharField(max_length=300)
    summary = models.CharField(max_length=500, blank=True)
    headline = models.CharField(max_length=300, blank=True, default="", db_default="")
    """What a list shows of it: what would be done, how much, for whom. Empty: its title."""
    detail = models.CharField(max_length=500, blank=True, default="", db_default="")
    """What a list shows beside the headline."""
    action = models.CharField(max_length=200, blank=True, default="", db_default="", db_collation="C")
    """What is done, in words: `Pay the refund`. The order of Python is the order of this collation."""
    amount = models.DecimalField(max_digits=20, decimal_places=4, null=True)
    currency = models.CharField(max_length=8, blank=True, default="", db_default="")
    customer = models.CharField(max_length=200, blank=True, default="", db_default="", db_collation="C")
    risk = models.CharField(max_length=60, blank=True, default="", db_default="")
    request = CanonicalJSONField()
    actions = CanonicalJSONField()
    state = CanonicalJSONField()
    code_digest = models.CharField(max_length=64, blank=True)
    """Of the graph's source when it was asked."""
    opaque = models.JSONField(default=list)
    blocked = models.JSONField(default=list)
    cut = models.JSONField(default=list)
    """What is too long for a page: `state/CHANNEL`, or `request`. Whoever approves must have opened it whole."""
    folded = models.JSONField(default=list)
    """Arguments taller than a screen: `action/0/NAME`. Whoever approves must have seen their end."""
    marks = CanonicalJSONField(default=list)
    """Findings of misleading text: `findings.Mark` as plain data."""
    shown_digest = models.CharField(max_length=64, blank=True)
    """Of what the agent asks, as stored."""
    digest = models.CharField(max_length=64)
    """Of what people decide: what the agent asks, with the proposal if there is one. A vote must name it."""
    allowed_verdicts = models.JSONField()
    why_not = models.TextField(blank=True)
    answer_schema = CanonicalJSONField(null=True)
    rule = models.JSONField(default=dict)
    """The policy as it stood when the question was asked: `policies.Rule` as plain data."""
    proposal = CanonicalJSONField(null=True)
    """What the votes that count agree on, if it is more than a plain approval: `policies.Proposal` as plain data."""
    required_votes = models.PositiveSmallIntegerField(default=1)
    due_at = models.DateTimeField(null=True)
    escalated_at = models.DateTimeField(null=True)
    claimed_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    claimed_until = models.DateTimeField(null=True)
    round = models.PositiveSmallIntegerField(default=1)
    """How often this was asked: again, when the answer was one that the node failed with."""
    status = models.CharField(max_length=12, choices=ApprovalStatus, default=ApprovalStatus.PENDING)
    created_at = models.DateTimeField(default=timezone.now)
    asked_at = models.DateTimeField(db_default=Now())
    """By the database's clock; set again when the question is replaced. Roles given later may not vote on it."""
    closed_at = models.DateTimeField(null=True)

    objects = ApprovalQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["thread", "checkpoint_ns", "checkpoint_id", "interrupt_id", "round"],
                name="one_approval_for_each_pause",
            )
        ]
        indexes = [
            models.Index(fields=["created_at", "id"], condition=Q(status="pending"), name="approvals_pending"),
            models.Index(fields=["-closed_at", "-id"], condition=~Q(status="pending"), name="approvals_done"),
            models.Index(
                fields=["graph_id", "-closed_at", "-id"],
                condition=~Q(status="pending"),
                name="approvals_done_by_graph",
            ),
            models.Index(
                fields=["kind", "-closed_at", "-id"], condition=~Q(status="pending"), name="approvals_done_by_kind"
            ),
            models.Index(fields=["-created_at", "-id"], name="approvals_newest"),
            models.Index(fields=["graph_id", "created_at"], name="approvals_by_graph"),
            models.Index(fields=["due_at", "created_at", "id"], condition=Q(status="pending"), name="approvals_due"),
            models.Index(
                fields=["graph_id", "due_at", "created_at", "id"],
                condition=Q(status="pending"),
                name="approvals_due_by_graph",
            ),
            models.Index(
                fields=["kind", "due_at", "created_at", "id"],
                condition=Q(status="pending"),
                name="approvals_due_by_kind",
            ),
            models.Index(fields=["claimed_by"], condition=Q(status="pending"), name="approvals_claimed"),
            models.Index(
                fields=["action", "due_at", "created_at", "id"],
                condition=Q(status="pending"),
                name="approvals_due_by_action",
            ),
            models.Index(
                fields=["customer", "due_at", "created_at", "id"],
                condition=Q(status="pending"),
                name="approvals_due_by_customer",
            ),
            models.Index(
                F("amount").desc(nulls_last=True),
                "created_at",
                "id",
                condition=Q(status="pending"),
                name="approvals_by_amount",
            ),
            models.Index(
                fields=["amount"],
                condition=Q(amount__isnull=False) & ~Q(status="pending"),
                name="approvals_done_by_amount",
            ),
        ]

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        from django.urls import reverse

        return reverse("approval", args=[self.id])

    @property
    def address(self) -> str:
        """Where people decide it, for those who are not at a page."""
        return f"{settings.PUBLIC_URL}{self.get_absolute_url()}"

    @property
    def is_pending(self) -> bool:
        return self.status == ApprovalStatus.PENDING

    @property
    def head(self) -> str:
        """The thread's newest checkpoint when the question was asked."""
        return self.head_id or self.checkpoint_id

    @property
    def path(self) -> tuple[str, ...]:
        """The nodes that lead to the subgraph at a breakpoint; empty for the thread's own graph."""
        return path_of(self.checkpoint_ns)


class VoteQuerySet(models.QuerySet["Vote"]):
    def counting(self) -> VoteQuerySet:
        return self.filter(ended_at=None)


class Vote(models.Model):
    """One person's verdict. The idempotency key makes a repeated request harmless.

    A vote counts until it is withdrawn, cleared by a new proposal, superseded by the agent, or lapses because its voter
    may no longer vote.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    approval = models.ForeignKey(Approval, on_delete=models.PROTECT, related_name="votes")
    voter = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="votes")
    verdict = models.CharField(max_length=8, choices=Verdict)
    edits = CanonicalJSONField(default=dict)
    answer = CanonicalJSONField(null=True)
    as_node = models.CharField(max_length=200, blank=True)
    comment = models.TextField(blank=True)
    seen_digest = models.CharField(max_length=64)
    idempotency_key = models.CharField(max_length=200, null=True)
    seen_preview = models.CharField(max_length=64, blank=True)
    request_digest = models.CharField(max_length=64)
    is_own = models.BooleanField(default=False)
    """Its voter proposed the edit, and the policy demands others: the vote does not count as an approval."""
    created_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True)
    ended_as = models.CharField(max_length=10, choices=VoteEnd, blank=True)

    objects = VoteQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["approval", "voter"], condition=Q(ended_at=None), name="one_vote_for_each_person"
            ),
            models.UniqueConstraint(fields=["voter", "idempotency_key"], name="one_vote_for_each_key"),
        ]
        indexes = [models.Index(fields=["voter", "-created_at"], name="votes_newest")]

    def __str__(self) -> str:
        return f"{self.verdict} by {self.voter}"


class Decision(models.Model):
    """The outcome, with everything that the graph is given. A constraint allows one for each approval."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    approval = models.OneToOneField(Approval, on_delete=models.PROTECT, related_name="decision")
    vote = models.OneToOneField(Vote, null=True, on_delete=models.PROTECT, related_name="decision")
    """The vote that completed it; none if its time ran out."""
    verdict = models.CharField(max_length=8, choices=Verdict)
    edits = CanonicalJSONField(default=dict)
    answer = CanonicalJSONField(null=True)
    as_node = models.CharField(max_length=200, blank=True)
    comment = models.TextField(blank=True)
    decided_by = models.TextField()
    """Everybody whose vote made it, in the order of their votes."""
    answer_digest = models.CharField(max_length=64, blank=True)
    """Of verdict, edits, answer, node and comment: what the audit log says was decided, and the graph must be given."""
    seen_preview = models.CharField(max_length=64, blank=True)
    deviations = models.JSONField(default=list)
    """What ran otherwise than was decided, a sentence each."""
    decided_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"{self.verdict} by {self.decided_by}"


class RunQuerySet(models.QuerySet["Run"]):
    def without_content(self) -> RunQuerySet:
        """Leave large columns in the database, also those of the decision and its approval."""
        of_decision = [f"decision__{name}" for name in DECISION_CONTENT]
        of_approval = [f"decision__approval__{name}" for name in APPROVAL_CONTENT]
        return self.defer(*RUN_CONTENT, *of_decision, *of_approval)

    def newest_of(self, thread_id: str) -> uuid.UUID | None:
        """Return the id of the thread's newest run."""
        return self.filter(thread=thread_id).order_by("-created_at").values_list("pk", flat=True).first()

    def hold(self, thread: Thread) -> bool:
        """Return whether one of them holds the thread: it is queued or running."""
        return self.filter(thread=thread, status__in=ACTIVE_RUNS).exists()


RUN_CONTENT = ("input", "steps", "calls", "metadata")


class Run(models.Model):
    """One time a graph is run on a thread, from the console."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    thread = models.ForeignKey(Thread, on_delete=models.PROTECT, related_name="runs")
    decision = models.OneToOneField(Decision, null=True, on_delete=models.PROTECT, related_name="run")
    graph_id = models.CharField(max_length=200)
    kind = models.CharField(max_length=8, choices=RunKind)
    status = models.CharField(max_length=12, choices=RunStatus, default=RunStatus.QUEUED)
    input = CanonicalJSONField(null=True)
    started_by = models.CharField(max_length=150)
    metadata = models.JSONField(default=dict)
    """What a client gave with it: its checkpoints have it too."""
    resume_from = models.CharField(max_length=64, blank=True)
    """The checkpoint this run goes on from; a thread that stands elsewhere is left alone."""
    is_edited = models.BooleanField(default=False)
    """`resume_from` is this run's own edit: the answer was begun there, and is still to be carried out."""
    bound = models.JSONField(null=True)
    """What its tasks can read, where it stopped after it was entered: a retry finds the same or runs nothing."""
    entered_at = models.DateTimeField(null=True)
    """Set and committed before the graph is called: from here on a node may have been running."""
    attempts = models.PositiveIntegerField(default=0)
    retry_at = models.DateTimeField(null=True)
    """No worker starts it before this time: the pause between attempts."""
    steps = models.JSONField(default=list)
    calls = CanonicalJSONField(default=list)
    """The tools that were called, as `{name, args, id}`."""
    has_log = models.BooleanField(default=False)
    """Its code printed or logged something, or warned: see RunLog."""
    interfered = models.JSONField(default=list)
    """What others wrote to the thread beside it, a sentence each."""
    error = models.CharField(max_length=200, blank=True)
    problem = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True)

    objects = RunQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["thread"], condition=Q(status__in=["queued", "running", "held"]), name="one_run_at_a_time"
            )
        ]
        indexes = [models.Index(fields=["status", "updated_at"])]

    def __str__(self) -> str:
        return f"{self.kind} run of {self.graph_id}"

    @property
    def is_active(self) -> bool:
        return self.status in ACTIVE_RUNS

    @property
    def is_stuck(self) -> bool:
        return self.status in STUCK_RUNS


class RunLog(models.Model):
    """What the code of a run printed, logged and warned of: the newest lines, each a `KeptLine` as plain data."""

    run = models.OneToOneField(Run, primary_key=True, on_delete=models.CASCADE, related_name="log")
    lines = CanonicalJSONField(default=list)
    dropped = models.PositiveIntegerField(default=0)
    """How many older lines are not kept."""

    def __str__(self) -> str:
        return f"log of {self.run_id}"


class Policy(models.Model):
    """Who decides on a gate, and how. Empty fields match anything; the most specific match counts."""

    graph_id = models.CharField("graph", max_length=200, blank=True)
    node = models.CharField(max_length=200, blank=True)
    tool = models.CharField(max_length=200, blank=True)
    approvals = models.PositiveSmallIntegerField("approvals needed", default=1)
    people = models.ManyToManyField(settings.AUTH_USER_MODEL, blank=True, related_name="+")
    groups = models.ManyToManyField("auth.Group", blank=True, related_name="+")
    one_reject_ends = models.BooleanField("one rejection ends it", default=True)
    may_decide_own = models.BooleanField("who started the run may vote", default=False)
    needs_reason = models.BooleanField("every vote needs a reason", default=False)
    deadline_minutes = models.PositiveIntegerField(null=True, blank=True)
    on_deadline = models.CharField(max_length=8, choices=OnDeadline, default=OnDeadline.ESCALATE)
    escalate_to = models.ManyToManyField("auth.Group", blank=True, related_name="+")
    on_crash = models.CharField(max_length=6, choices=OnCrash, default=OnCrash.ASK)
    may_edit = models.JSONField(null=True, blank=True)
    """Names and dotted paths; None for everything."""
    edit_needs_another = models.BooleanField("an edit needs another person", default=False)
    version = models.PositiveIntegerField(default=0, editable=False)
    changed_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        verbose_name_plural = "policies"
        constraints = [models.UniqueConstraint(fields=["graph_id", "node", "tool"], name="one_policy_for_each_place")]

    def __str__(self) -> str:
        return " / ".join(filter(None, [self.graph_id or "every graph", self.node, self.tool]))


class PolicyVersion(models.Model):
    """A policy as it was at one time. It is kept when the policy is changed or removed."""

    policy_id = models.BigIntegerField(db_index=True)
    version = models.PositiveIntegerField()
    place = models.CharField(max_length=620)
    rule = models.JSONField(null=True)
    """None: the policy was removed."""
    changed_by = models.CharField(max_length=150)
    changed_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["policy_id", "version"], name="one_row_for_each_version")]

    def __str__(self) -> str:
        return f"{self.place} v{self.version}"


class Safeguard(models.Model):
    """One row with the switch of the two-admin rule. Database triggers enforce the rule."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    two_admins = models.BooleanField(default=False)

    def __str__(self) -> str:
        return "two admins" if self.two_admins else "one admin"


class Change(models.Model):
    """A change that an admin proposed under the two-admin rule. It takes effect when another admin confirms it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=10, choices=ChangeKind)
    target_id = models.BigIntegerField(null=True)
    """Of the policy, person or group; None for a new one."""
    name = models.CharField(max_length=620)
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    """None: it is removed; before it: it is new."""
    status = models.CharField(max_length=9, choices=ChangeStatus, default=ChangeStatus.OPEN)
    proposed_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    proposed_at = models.DateTimeField(db_default=Now())
    closed_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    closed_at = models.DateTimeField(null=True)
    reason = models.TextField(blank=True)

    OPEN_DAYS = 7

    class Meta:
        indexes = [models.Index(fields=["-proposed_at"], name="changes_newest")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.name}"

    @property
    def open_until(self) -> datetime:
        """When nobody can confirm or refuse it any more."""
        return self.proposed_at + timedelta(days=self.OPEN_DAYS)


class Membership(models.Model):
    """Django's table of group members, with the time that a migration added."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.DO_NOTHING, related_name="memberships")
    group = models.ForeignKey("auth.Group", on_delete=models.DO_NOTHING, related_name="+")
    granted_at = models.DateTimeField(db_default=Now())

    class Meta:
        managed = False
        db_table = "auth_user_groups"

    def __str__(self) -> str:
        return f"{self.user} in {self.group}"


class Notice(models.Model):
    """A sentence to a person about something that happened while they were away."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="notices")
    approval = models.ForeignKey(Approval, on_delete=models.CASCADE, related_name="+")
    text = models.CharField(max_length=300)
    created_at = models.DateTimeField(default=timezone.now)
    seen_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["user", "-created_at"], condition=Q(seen_at=None), name="notices_unseen")]

    def __str__(self) -> str:
        return self.text


class SavedView(models.Model):
    """A list of the queue that a person keeps under a name: its tab, filters, sort and groups as a query string."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    name = models.CharField(max_length=60)
    query = models.CharField(max_length=600)
    is_shared = models.BooleanField(default=False)
    """Everybody who may see the queue sees it; what it finds still depends on who looks."""
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["owner", "name"], name="one_view_for_each_name")]
        indexes = [models.Index(fields=["name"], condition=Q(is_shared=True), name="views_shared")]

    def __str__(self) -> str:
        return self.name


class Snooze(models.Model):
    """Until a time an approval is not among what needs one person. Others see it as ever."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    approval = models.ForeignKey(Approval, on_delete=models.CASCADE, related_name="snoozes")
    until = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "approval"], name="one_snooze_for_each_person")]

    def __str__(self) -> str:
        return f"{self.approval_id} until {self.until}"


class Draft(models.Model):
    """What a person had typed when they were refused."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    thread = models.ForeignKey(Thread, on_delete=models.CASCADE, related_name="drafts")
    edits = CanonicalJSONField(default=dict)
    answer = CanonicalJSONField(null=True)
    comment = models.TextField(blank=True)
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "thread"], name="one_draft_for_each_person")]

    def __str__(self) -> str:
        return f"draft of {self.user} on {self.thread}"


class Opening(models.Model):
    """A record that a person opened a cut value, or saw the end of a folded one, in the version of that time."""

    approval = models.ForeignKey(Approval, on_delete=models.CASCADE, related_name="openings")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    part = models.CharField(max_length=300)
    shown_digest = models.CharField(max_length=64)
    opened_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["approval", "user", "part", "shown_digest"], name="one_opening_for_each_part"
            )
        ]

    def __str__(self) -> str:
        return f"{self.part} opened by {self.user}"


class Inquiry(models.Model):
    """A question from a web process to a worker about a graph. The answer is read once, then the row is deleted."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    graph_id = models.CharField(max_length=200, blank=True)
    """Only a worker with this graph can answer; without one, any can."""
    kind = models.CharField(max_length=20)
    payload = CanonicalJSONField()
    answer = CanonicalJSONField(null=True)
    created_at = models.DateTimeField(default=timezone.now, db_index=True)
    taken_at = models.DateTimeField(null=True)
    """Since when a worker is at it."""

    def __str__(self) -> str:
        return self.kind


class TrialResult(models.Model):
    """The result of a trial that a preview showed, kept for the vote that follows: see `actions/votes/trials.py`."""

    key = models.CharField(primary_key=True, max_length=64)
    """Digest of all that the result depends on."""
    thread = models.ForeignKey(Thread, on_delete=models.CASCADE, related_name="+")
    result = models.TextField()
    """Signed with SECRET_KEY."""
    created_at = models.DateTimeField(db_default=Now(), db_index=True)

    def __str__(self) -> str:
        return f"trial on {self.thread_id}"


class SignInLink(models.Model):
    """A one-time link. Only the digest of its token is stored."""

    token_digest = models.CharField(primary_key=True, max_length=64)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    expires_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"sign-in link of {self.user}"


class ApiToken(models.Model):
    """A bearer token of one person. Only its digest is stored."""

    token_digest = models.CharField(primary_key=True, max_length=64)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"token of {self.user}"


class AuditEntry(models.Model):
    """One line of the log. Only approvals.audit writes it; the database refuses to change or delete it."""

    seq = models.BigIntegerField(primary_key=True)
    at = models.DateTimeField(db_index=True)
    actor = models.CharField(max_length=150)
    action = models.CharField(max_length=60)
    thread_id = models.CharField(max_length=255, blank=True)
    about = models.TextField(blank=True, db_default="")
    """The row that others rely on because of this entry: `person:7`, `token:...`, `approval:...`, `policy:...`."""
    body = models.TextField()
    prev_hash = models.CharField(max_length=64, unique=True)
    hash = models.CharField(max_length=64, unique=True)

    class Meta:
        indexes = [
            models.Index(fields=["about", "seq"], condition=~Q(about=""), name="entries_about"),
            models.Index(fields=["actor", "seq"], name="entries_by_actor"),
            models.Index(fields=["action", "seq"], name="entries_by_action"),
            models.Index(fields=["thread_id", "seq"], name="entries_by_thread"),
        ]

    def __str__(self) -> str:
        return f"{self.seq} {self.action}"

    @property
    def record(self) -> dict[str, Any]:
        import json

        return dict(json.loads(self.body))


class AuditHead(models.Model):
    """The newest entry. This row is locked while an entry is appended, so that the log has one order and no gap."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    seq = models.BigIntegerField(default=0)
    hash = models.CharField(max_length=64)

    def __str__(self) -> str:
        return f"head at {self.seq}"


class AuditText(models.Model):
    """A text that an entry names by its digest. It is stored apart, so it can be erased while the log stays intact.

    The digest is SHA-256 of salt and text. Without the salt nobody can find a short text by trying.
    """

    seq = models.BigIntegerField()
    name = models.CharField(max_length=40)
    salt = models.CharField(max_length=64, blank=True)
    text = models.TextField(blank=True)
    erased_at = models.DateTimeField(null=True)
    erased_by = models.CharField(max_length=150, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["seq", "name"], name="one_text_for_each_name")]

    def __str__(self) -> str:
        return f"{self.name} of entry {self.seq}"


class SignedHead(models.Model):
    """A copy of a signed note, for pages and exports. The original is in a file outside the database."""

    size = models.BigIntegerField()
    """Number of the newest entry it covers. A quiet log is signed again and again."""
    note = models.TextField()
    signed_at = models.DateTimeField()
    file_end = models.BigIntegerField()
    """Where it ends in the file outside, in bytes."""

    class Meta:
        indexes = [models.Index(fields=["size"], name="heads_by_size")]

    def __str__(self) -> str:
        return f"signed at {self.size}"


class AuditCheck(models.Model):
    """The result of the last verification, of all or of what is new. Pages show it and do not verify by themselves."""

    WHOLE, NEWEST = 1, 2

    id = models.PositiveSmallIntegerField(primary_key=True, default=WHOLE)
    after = models.BigIntegerField(default=0)
    """The last entry that was not read again: a signed head stands for it and all before."""
    ok = models.BooleanField()
    entries = models.BigIntegerField()
    first_bad = models.BigIntegerField(null=True)
    reason = models.TextField(blank=True)
    checked_by = models.CharField(max_length=150)
    checked_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"checked at {self.entries}"


class Subscription(models.Model):
    """A client that has the stream of a thread open, or may come back for it: what it wants of the runs, until when.

    A worker sends only what is asked for here. The table is not logged by PostgreSQL: after a crash of the server it is
    empty, and clients subscribe again.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    thread = models.ForeignKey(Thread, on_delete=models.CASCADE, related_name="+", db_constraint=False)
    modes = models.JSONField()
    has_subgraphs = models.BooleanField()
    until = models.DateTimeField()
    """It is renewed while the client is there. What a process left behind that was killed ends by itself."""

    def __str__(self) -> str:
        return f"{', '.join(self.modes)} of {self.thread_id}"


class StreamPart(models.Model):
    """One part of the stream of a run that somebody subscribed to. It is kept for a while; not logged either."""

    id = models.BigAutoField(primary_key=True)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="+", db_index=False, db_constraint=False)
    """Without a constraint: its check would wait for whoever has locked the row."""
    thread = models.ForeignKey(Thread, on_delete=models.CASCADE, related_name="+", db_index=False, db_constraint=False)
    mode = models.CharField(max_length=20)
    """What clients ask for to get it."""
    name = models.TextField()
    """What the part is called; with the namespace of a subgraph."""
    is_inner = models.BooleanField()
    data = models.TextField()
    """JSON. Secrets are masked."""
    created_at = models.DateTimeField(db_default=Now(), db_index=True)

    class Meta:
        indexes = [
            models.Index(fields=["run", "id"], name="stream_of_run"),
            models.Index(fields=["thread", "id"], name="stream_of_thread"),
        ]

    def __str__(self) -> str:
        return f"{self.name} of {self.run_id}"
