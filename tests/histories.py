"""Random histories of a console: what people, agents and workers do, by the actions that do it, in a database apart.

The agent is a row in the table of checkpoints, and the worker is the functions that store how a run stopped: neither a
graph nor a process is needed, and every row and entry is one that the console writes.
"""

import functools
import json
import random
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from unittest import mock

from tests import audit_logs

GRAPH = "gated"
REVIEWERS = ("alice", "bob")


class History:
    """One log from its beginning. `play` does a number of random things; each may be refused, as people are."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.args: dict[str, Any] = {}
        """Further arguments of what agents ask for."""
        self.groups: list[Any] = []
        self.policies: list[Any] = []
        publish()

    def play(self, count: int) -> None:
        from approvals.errors import Refusal

        doing = list(self._things())
        for _ in range(count):
            try:
                self.dice.choice(doing)()
            except Refusal:
                pass

    def _things(self) -> list[Callable[[], Any]]:
        often = [self.start, self.carry_on, self.vote, self.vote, self.vote, self.withdraw]
        return [
            *(often * 2), self.claim, self.skip, self.agent_moves, self.stopped_run, self.ask_again, self.replay,
            self.fork, self.force_clean, self.retire, self.change_roles, self.change_person_in_a_shell, self.group,
            self.new_policy, self.change_policy, self.remove_policy, self.token, self.deadlines, self.erase, self.sign,
        ]  # fmt: skip

    # --- agents and workers

    def start(self, graph: str = GRAPH) -> Any:
        from approvals.actions.runs.starts import start_run
        from approvals.actions.threads.creation import create_thread

        thread = create_thread(by=person("root"))
        run = start_run(thread_id=thread.pk, graph_id=graph, input={"text": str(self.dice.random())}, by=person("root"))
        return self.stop(run, self.dice.choice(["gate", "gate", "gate", "question", "finish", "fail"]))

    def carry_on(self) -> None:
        from approvals.models import Run

        if run := self.one_of(Run.objects.filter(status="queued")):
            self.stop(run, self.dice.choice(["gate", "question", "finish", "finish", "fail"]))

    def stop(self, run: Any, how: str) -> Any:
        """Be the worker of a run, from its beginning to how it stopped; return the thread's newest question."""
        from agentcore.plain.types import Failed, Finished, Paused
        from approvals.actions.runs import settling, taking
        from approvals.actions.threads import records
        from approvals.models import Approval

        taken = taking.take_queued(str(run.pk))
        if taken is None:
            return None
        snapshot, head = step(run.thread_id, {"amount": self.dice.randrange(9_999)}, how)
        pauses = [pause_of(how, snapshot, self.dice, self.args)] if how in ("gate", "question") else []
        outcome = {"finish": Finished(snapshot), "fail": Failed("ValueError", "It broke.", "act")}.get(how)
        with self._clock():
            settling.store(taken, outcome or Paused(snapshot), records.Seen(snapshot, pauses, head, None))
        return Approval.objects.filter(thread_id=run.thread_id).order_by("-created_at").first()

    def agent_moves(self) -> None:
        """A program outside goes on with a thread, or replaces what it asks."""
        from approvals.actions.threads import records

        if asked := self.one_that_waits():
            snapshot, head = step(asked.thread_id, {"amount": self.dice.randrange(9_999)}, "gate")
            bond = records.FoundBinding(GRAPH)
            records.store_if_free(bond, snapshot, [pause_of("gate", snapshot, self.dice, self.args)], head, None)

    def _clock(self) -> Any:
        """Where a policy has a deadline, it has passed by the time anybody looks."""
        from approvals.actions.threads import records

        return mock.patch.object(records, "timedelta", lambda **_: timedelta(seconds=-1))

    # --- people

    def one_of(self, found: Any, by: str = "created_at") -> Any:
        rows = list(found.order_by(by))
        return self.dice.choice(rows) if rows else None

    def one_that_waits(self) -> Any:
        from approvals.models import Approval

        return self.one_of(Approval.objects.pending())

    def vote(self, asked: Any = None, name: str = "", **given: Any) -> Any:
        from approvals.actions.votes import ballots, votes

        if asked := asked or self.one_that_waits():
            verdict = given.pop("verdict", "") or self.dice.choice(["approve", "approve", "reject"])
            if asked.kind != "breakpoint" and "answer" not in given:
                verdict, given = "respond", {"answer": self.dice.choice(["yes", "no", None]), "is_answered": True}
            comment = self.dice.choice(["because", "Größe: 80 €"])
            ballot = ballots.Ballot(verdict, asked.digest, {}, comment=comment, **given)
            return votes.cast(approval_id=asked.pk, ballot=ballot, by=person(name or self.dice.choice(REVIEWERS)))
        return None

    def skip(self) -> None:
        self.vote(name="root", verdict="skip")

    def withdraw(self) -> None:
        from approvals.actions.votes import votes

        if asked := self.one_that_waits():
            votes.withdraw(approval_id=asked.pk, by=person(self.dice.choice(REVIEWERS)))

    def claim(self) -> None:
        from approvals.actions.votes import claims as claim

        if asked := self.one_that_waits():
            act = self.dice.choice([claim.claim, claim.release])
            act(approval_id=asked.pk, by=person(self.dice.choice(REVIEWERS)))

    def stopped_run(self) -> None:
        from approvals.actions.runs import controls
        from approvals.models import Run

        if run := self.one_of(Run.objects.filter(status__in=["failed", "held", "queued"])):
            act = self.dice.choice([controls.retry_run, controls.give_up_run, controls.cancel_run])
            act(run_id=run.pk, by=person("root"))

    def ask_again(self) -> None:
        from approvals.actions.votes.repairs import ask_again

        if thread := self.one_thread():
            ask_again(thread_id=thread.pk, by=person("root"))

    def replay(self) -> None:
        from approvals.actions.threads.replays import replay_thread

        if (thread := self.one_thread()) and thread.checkpoint_id:
            at = {"thread_id": thread.pk, "checkpoint_id": thread.checkpoint_id}
            replay_thread(**at, typed_id=thread.pk, by=person("root"))

    def fork(self) -> None:
        from approvals.actions.threads import forks

        if (thread := self.one_thread()) and thread.checkpoint_id and thread.cleaned_at is None:
            given = {"edits": {}, "as_node": "", "input": None}
            forks._begin(thread, thread.checkpoint_id, **given, by=person("root"))

    def force_clean(self, thread_id: str = "") -> None:
        from approvals.actions.threads.cleaning import force_clean

        if thread := self.one_thread():
            force_clean(thread_id=thread_id or thread.pk, reason="It is beyond help.", by=person("root"))

    def retire(self) -> None:
        from django.utils import timezone

        from approvals.actions.threads import retirement
        from approvals.models import Thread

        if thread := self.one_thread():
            Thread.objects.filter(pk=thread.pk).update(updated_at=timezone.now() - timedelta(days=9))
            retirement.retire(days=5, by=person("root"))

    def one_thread(self) -> Any:
        from approvals.models import Thread

        return self.one_of(Thread.objects.all())

    def change_roles(self) -> None:
        """As the page of an admin does."""
        from django.contrib.auth.models import Group

        from approvals import audit
        from approvals.actions.people import people
        from approvals.domain import context

        someone, names = person("bob"), self.dice.sample(["reviewer", "viewer", "operator"], 2)
        with audit.transaction(), context.telling():
            before = people.rights_of(someone)
            someone.groups.set(Group.objects.filter(name__in=names))
            people.note_change(someone, before=before, by=person("root"))

    def change_person_in_a_shell(self) -> None:
        from django.contrib.auth.models import Group

        someone = person("bob")
        someone.is_active = self.dice.random() < 0.7
        someone.save()
        someone.groups.add(Group.objects.get(name="reviewer"))

    def group(self) -> None:
        from django.contrib.auth.models import Group

        from approvals.actions.people import people

        if self.groups and self.dice.random() < 0.5:
            people.remove_group(self.groups.pop(), by=person("root"))
            return
        made = Group.objects.create(name=f"g-{uuid.uuid4().hex[:8]}")
        self.groups.append(made)
        person("alice").groups.add(made)

    def new_policy(self, **fields: Any) -> Any:
        from django.contrib.auth.models import Group

        from approvals.actions.people import policies
        from approvals.models import Policy

        if Policy.objects.exists() and not fields:
            return None
        rule = {"approvals": self.dice.choice([1, 2]), "deadline_minutes": self.dice.choice([None, None, 5])}
        rule |= {"on_deadline": self.dice.choice(["deny", "escalate"]), "one_reject_ends": self.dice.random() < 0.5}
        made = Policy.objects.create(**({"graph_id": GRAPH} | rule | fields))
        made.people.set([person("alice"), person("bob")])
        made.groups.set(Group.objects.filter(name="reviewer"))
        policies.note_change(made, by=person("root"))
        self.policies.append(made)
        return made

    def change_policy(self) -> None:
        from approvals.actions.people import policies
        from approvals.models import Policy

        if made := Policy.objects.first():
            made.approvals = self.dice.choice([1, 2])
            made.save()
            policies.note_change(made, by=person("root"))

    def remove_policy(self) -> None:
        from approvals.actions.people import policies
        from approvals.models import Policy

        if made := Policy.objects.first():
            policies.remove_policy(made, by=person("root"))

    def token(self) -> None:
        from approvals.actions.people.sign_in import make_token
        from approvals.models import ApiToken

        if self.dice.random() < 0.5:
            make_token(person(self.dice.choice(REVIEWERS)))
        elif found := self.one_of(ApiToken.objects.all()):
            found.delete()

    def deadlines(self) -> None:
        from approvals.actions.votes import deadlines

        deadlines.close_overdue()

    def erase(self) -> None:
        from approvals.actions.audit_log.texts import erase_text
        from approvals.models import AuditText

        if text := self.one_of(AuditText.objects.filter(name="comment"), by="seq"):
            erase_text(seq=text.seq, name="comment", reason="asked for", by=person("root"))

    def sign(self) -> None:
        from approvals.actions.audit_log import signing

        signing.sign()


def person(name: str) -> Any:
    from django.contrib.auth.models import User

    return User.objects.get(username=name)


def publish() -> None:
    """Publish one graph, as a worker does that loads it."""
    from approvals.actions.workers.cards import publish_graphs
    from approvals.jobs import runtime

    with mock.patch.object(runtime, "graph_cards", lambda: [_card()]):
        publish_graphs()


@functools.cache
def _card() -> Any:
    from agentcore.graphs import cards
    from tests.graphs import gated

    return cards.card(GRAPH, gated, code_digest="0" * 64)


def step(thread_id: str, values: dict[str, Any], how: str) -> tuple[Any, Any]:
    """Have the thread stand at a new checkpoint; return what a worker reads there, and the head."""
    from django.db import connection, transaction

    from agentcore.plain.types import Snapshot
    from approvals import checkpoints

    before = checkpoints.read_head(thread_id)
    checkpoint_id = str(uuid.uuid4()) if before is None else f"{before.checkpoint_id[:-12]}{uuid.uuid4().hex[:12]}"
    checkpoint_id = max(checkpoint_id, (before.checkpoint_id + "0") if before else "")
    stored = {"v": 4, "id": checkpoint_id, "channel_values": {}, "channel_versions": {}, "versions_seen": {}}
    with transaction.atomic(), connection.cursor() as cursor:
        held = "SELECT set_config('countersign.held', concat(fence, ':', id), true) FROM approvals_thread WHERE id = %s"
        cursor.execute(held, [thread_id])  # as the saver of the run that holds the thread says it
        cursor.execute(
            "INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, checkpoint, metadata)"
            " VALUES (%s, '', %s, %s, '{}')",
            [thread_id, checkpoint_id, json.dumps(stored)],
        )
    head = checkpoints.read_head(thread_id)
    waits = {"gate": ("act",), "question": ("ask",)}.get(how, ())
    parent = before.checkpoint_id if before else None
    about = {"created_at": None, "step": 1, "source": "loop", "metadata": {}, "values": values, "next": waits}
    return Snapshot(thread_id, "", checkpoint_id, parent, **about), head


def pause_of(how: str, snapshot: Any, dice: random.Random, args: dict[str, Any]) -> Any:
    from agentcore.plain.types import Action, Pause

    if how == "gate":
        verdicts = ("approve", "reject", "skip")
        action = Action("act", dict(snapshot.values) | args)
        return Pause("breakpoint", "", ("act",), "Act", f"On {snapshot.values}", {"ran": []}, (action,), verdicts)
    asked = {"value": dice.choice(["Go on?", "How many?"])}
    return Pause("plain", uuid.uuid4().hex, ("ask",), "Ask", asked["value"], asked, (Action("ask", {}),), ("respond",))


def begin(folder: Any, seed: int) -> History:
    """Forget the log that was there, and begin another."""
    from django.contrib.auth.models import Group

    from approvals.models import ApiToken, Policy

    for made in (*Policy.objects.all(), *ApiToken.objects.all(), *Group.objects.filter(name__startswith="g-")):
        made.delete()
    audit_logs.empty(folder)
    return History(seed)
