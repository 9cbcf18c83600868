"""Who counts as a second person: what may be edited, whose edit and whose input it is, since when one may vote."""

import importlib
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from approvals.domain import editable, policies
from approvals.domain.authors import Author
from approvals.domain.policies import Rule
from tests.approvals.test_answers import asked, decide, status
from tests.approvals.test_fork import forked, history, is_over
from tests.approvals.test_queue import page_of
from tests.console import Console, wait_for
from tests.voting import LOWER, change_question, code_of, policy, read, vote

ARGS: dict[str, Any] = {"to": {"name": "Ana", "iban": "NL1"}, "items": [{"price": 1}, {"price": 2}], "note": "x"}
PAY = {"name": "pay", "args": ARGS}


@contextmanager
def person(name: str, *roles: str) -> Iterator[Any]:
    """Have somebody with these roles while the block runs."""
    from django.contrib.auth.models import Group, User

    someone, _ = User.objects.get_or_create(username=name)
    someone.groups.set(Group.objects.filter(name__in=roles))
    try:
        yield someone
    finally:
        someone.groups.clear()


def start(console: Console, by: str, graph: str = "voting", **given: Any) -> dict[str, Any]:
    with console.api(by) as api:
        thread_id = api.post("/threads", json={}).json()["thread_id"]
        run = {"assistant_id": graph, "input": {"text": "own", "count": 640, **given}}
        api.post(f"/threads/{thread_id}/runs", json=run).raise_for_status()
    return console.pending(thread_id)


def needs_me(console: Console, name: str, approval: dict[str, Any]) -> bool:
    """Whether the queue lists it for this person."""
    from django.contrib.auth.models import User

    from approvals.domain import queries
    from approvals.models import Approval

    found = Approval.objects.filter(pk=approval["id"])
    return queries.needing(found, User.objects.get(username=name)).exists()


def faults(response: Any) -> list[str]:
    return [fault["path"] for fault in response.json()["error"]["detail"]["faults"]]


# What may be edited


@pytest.mark.parametrize(
    ("may_edit", "changed", "closed"),
    [
        (None, {"note": "y"}, []),
        ((), {"note": "y"}, ["note"]),
        (("note",), {"note": "y"}, []),
        (("note",), {"note": None}, []),
        (("to",), {"to": "anybody"}, []),
        (("to.name",), {"to": {"name": "Bo", "iban": "NL1"}}, []),
        (("to.name",), {"to": {"name": "Bo", "iban": "NL2"}}, ["to/iban"]),
        (("to.name",), {"to": {"name": "Bo"}}, ["to/iban"]),
        (("to.name",), {"to": {"name": "Bo", "iban": "NL1", "bic": "B"}}, ["to/bic"]),
        (("to.name",), {"to": "anybody"}, ["to"]),
        (("to.name.first",), {"to": {"name": "Bo", "iban": "NL1"}}, ["to/name"]),
        (("items.*.price",), {"items": [{"price": 9}, {"price": 2}]}, []),
        (("items.1.price",), {"items": [{"price": 9}, {"price": 2}]}, ["items/0/price"]),
        (("items.*.price",), {"items": [{"price": 1}]}, ["items"]),
        (("items.*.price",), {"items": [{"price": 1, "of": "x"}, {"price": 2}]}, ["items/0/of"]),
        (("items",), {"items": []}, []),
        (("*",), {"note": "y", "to": 1}, []),
        (("not",), {"note": "y"}, ["note"]),
        (("a.b",), {"a.b": 1}, []),
        (("a",), {"a.b": 1}, ["a.b"]),
        (("to",), {"new": 1}, ["new"]),
        ((), {"items": [{"price": True}, {"price": 2}]}, ["items/0/price"]),
    ],
)
def test_what_a_policy_lets_be_changed(may_edit: Any, changed: dict[str, Any], closed: list[str]) -> None:
    found = editable.closed_in_arguments(may_edit, ARGS, {**ARGS, **changed})
    assert ["/".join(path) for path in found] == closed
    edits = {name: {"op": "set", "value": value} for name, value in changed.items()}
    assert ["/".join(path) for path in editable.closed_in_edits(may_edit, ARGS, edits)] == closed


def test_what_is_added_to_a_channel_needs_all_of_it() -> None:
    added = {"items": {"op": "append", "value": [{"price": 3}]}}
    assert editable.closed_in_edits(("items.*.price",), {"items": []}, added) == [["items"]]
    assert editable.closed_in_edits(("items",), {"items": []}, added) == []


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (None, None, None),
        (None, ("a",), ("a",)),
        (("a",), (), ()),
        (("a", "b"), ("b", "c"), ("b",)),
        (("draft",), ("draft.text",), ("draft.text",)),
        (("items.*.price",), ("items.0",), ("items.0.price",)),
        (("items.*",), ("*.0",), ("items.0",)),
        (("draft.text",), ("draft.to",), ()),
    ],
)
def test_gates_that_wait_together_let_be_edited_what_all_do(one: Any, other: Any, both: Any) -> None:
    assert editable.both(one, other) == editable.both(other, one) == both
    rule = policies.strictest([Rule("a", may_edit=one), Rule("b", may_edit=other, edit_needs_another=True)])
    assert (rule.may_edit, rule.edit_needs_another) == (both, True)


@pytest.mark.parametrize("wrong", ["amount", ["a..b"], [""], [" a"], [1], ["x" * 201], ["a"] * 101, {"a": 1}])
def test_entries_that_make_no_sense_are_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="may_edit is a list of names and dotted paths"):
        policies.rule_from_metadata({"may_edit": wrong})
    assert policies.rule_from_metadata({"may_edit": []}).may_edit == ()


def test_a_rule_covers_another_only_with_the_same_limits() -> None:
    assert Rule(may_edit=("a",)).covers(Rule(may_edit=("a", "b")))
    assert not Rule().covers(Rule(may_edit=("a",)))
    assert not Rule().covers(Rule(edit_needs_another=True))


def test_an_edit_of_what_the_policy_closes_is_refused_at_its_path(console: Console) -> None:
    with policy("voting", may_edit=["count"]):
        some = start(console, "olga")
    with policy("voting", may_edit=[]):
        none = start(console, "olga")
    text = {"text": {"op": "set", "value": "other"}}
    for given in (text, {**LOWER, **text}, {"notes": {"op": "append", "value": ["x"]}}):
        refused = vote(console, "alice", some, edits=given)
        assert code_of(refused) == (422, "invalid_edit"), given
        assert faults(refused) == [next(name for name in given if name != "count") + "/value"]
        assert "lets only count be edited here" in refused.json()["error"]["message"]
    # What a skipped node would have written is an edit too; to have a look at one is refused alike.
    assert code_of(vote(console, "root", some, "skip", edits=text)) == (422, "invalid_edit")
    with console.api("alice") as alice:
        assert code_of(alice.post(f"/approvals/{none['id']}/preview", json={"edits": LOWER})) == (422, "invalid_edit")
    assert code_of(vote(console, "alice", none, edits=LOWER)) == (422, "invalid_edit")
    assert vote(console, "alice", some, edits=LOWER).status_code == 201
    assert vote(console, "alice", none).status_code == 201


BATCHED = {
    "action_requests": [PAY],
    "review_configs": [{"action_name": "pay", "allowed_decisions": ["approve", "edit"]}],
}
LEGACY = [{"action_request": {"action": "pay", "args": ARGS}, "config": {"allow_accept": True, "allow_edit": True}}]
PER_CALL = {"type": "tool_approval", "tool_call_id": "c1", **PAY, "description": "Pay."}


def edited(kind: str, args: Any) -> Any:
    decision = {"type": "edit", "edited_action": {"name": "pay", "args": args}}
    legacy = [{"type": "edit", "args": {"action": "pay", "args": args}}]
    return {"batched": {"decisions": [decision]}, "per_call": decision, "legacy": legacy}[kind]


@pytest.mark.parametrize(
    ("kind", "asks", "path"),
    [
        ("batched", BATCHED, "decisions/0/edited_action/args"),
        pytest.param("per_call", PER_CALL, "edited_action/args", marks=pytest.mark.full),
        pytest.param("legacy", LEGACY, "0/args/args", marks=pytest.mark.full),
    ],
)
def test_arguments_of_a_call_are_edited_as_far_as_the_policy_lets(
    console: Console, kind: str, asks: Any, path: str
) -> None:
    with policy("d_asks", may_edit=["note"]):
        approval = console.pause("d_asks", {"ask": asks})
    other = edited(kind, {**ARGS, "to": {"name": "Ana", "iban": "NL2"}})
    refused = vote(console, "alice", approval, "respond", answer=other)
    assert code_of(refused) == (422, "invalid_answer")
    assert faults(refused) == [f"{path}/to/iban"]
    state = {"amount": {"op": "set", "value": 3}}
    allowed = edited(kind, {**ARGS, "note": "Thanks."})
    assert code_of(vote(console, "alice", approval, "respond", answer=allowed, edits=state)) == (422, "invalid_edit")
    assert vote(console, "alice", approval, "respond", answer=allowed).status_code == 201


def test_what_was_sent_to_a_task_is_edited_as_far_as_the_policy_lets(console: Console) -> None:
    with policy("s_by_command", may_edit=["amount"], edit_needs_another=True):
        approval = console.pause("s_by_command", {"order": "A1"})
    args = [action["args"] for action in approval["actions"]]

    def answer(**changed: Any) -> dict[str, Any]:
        edit = {"type": "edit", "edited_action": {"name": "pay", "args": {**args[1], **changed}}}
        return {"decisions": [{"type": "approve"}, edit]}

    refused = vote(console, "alice", approval, "respond", answer=answer(payee="Mallory"))
    assert code_of(refused) == (422, "invalid_answer")
    assert faults(refused) == ["decisions/1/edited_action/args/payee"]
    assert vote(console, "alice", approval, "respond", answer=answer(amount=1.0)).json()["decision"] is None
    agreed = vote(console, "bob", read(console, approval), "respond").json()["decision"]
    assert agreed["decided_by"] == "alice, bob"


# Whose edit it is


def test_one_person_edits_and_approves_unless_the_policy_asks_for_another(console: Console) -> None:
    assert vote(console, "alice", start(console, "olga"), edits=LOWER).json()["decision"]["decided_by"] == "alice"
    with policy("voting", edit_needs_another=True):
        approval, plain = start(console, "olga"), start(console, "olga")
    assert vote(console, "alice", plain).json()["decision"]["decided_by"] == "alice", "it is no edit"
    proposed = vote(console, "alice", approval, edits=LOWER).json()
    assert (proposed["decision"], proposed["approvals_so_far"], proposed["required_votes"]) == (None, 0, 1)
    told = read(console, approval)
    assert told["proposal"]["by"] == "alice"
    agreed = vote(console, "bob", told).json()["decision"]
    assert (agreed["decided_by"], agreed["edits"]) == ("alice, bob", LOWER)


@pytest.mark.full
def test_two_approvals_are_of_two_others(console: Console) -> None:
    with policy("voting", approvals=2, edit_needs_another=True):
        approval = start(console, "olga")
    assert vote(console, "alice", approval, edits=LOWER).json()["approvals_so_far"] == 0
    told = read(console, approval)
    assert vote(console, "bob", told).json()["decision"] is None
    # Taken back and cast again it is still their own.
    with console.api("alice") as alice:
        alice.delete(f"/approvals/{approval['id']}/votes").raise_for_status()
    again = vote(console, "alice", read(console, approval)).json()
    assert (again["decision"], again["approvals_so_far"]) == (None, 1)
    assert vote(console, "carol", read(console, approval)).json()["decision"]["verdict"] == "approve"


def test_a_rejection_counts_who_is_left_without_the_proposer(console: Console) -> None:
    people = {"people": ["alice", "bob", "carol"], "one_reject_ends": False}
    with policy("voting", approvals=2, edit_needs_another=True, **people):
        approval = start(console, "olga")
    vote(console, "alice", approval, edits=LOWER).raise_for_status()
    ended = vote(console, "bob", read(console, approval), "reject", comment="No.").json()["decision"]
    assert ended["verdict"] == "reject", "only carol is left"


def test_answers_and_skips_need_another_too_and_later_questions_know_it(console: Console) -> None:
    from django.contrib.auth.models import User

    with policy("d_in_turn", edit_needs_another=True), person("sam", "reviewer", "operator"):
        first = console.pause("d_in_turn", {"amount": 1})
        assert vote(console, "sam", first, "respond", answer="A").json()["decision"] is None
        assert vote(console, "bob", read(console, first), "respond").json()["decision"]["decided_by"] == "sam, bob"
        console.run_of(first["id"])
        second = console.pending(first["thread_id"])
        refused = vote(console, "sam", second, "respond", answer="B")
        assert code_of(refused) == (403, "denied")
        assert "You proposed an edit or an answer that this thread went on with" in refused.json()["error"]["message"]
        assert not needs_me(console, "sam", second) and needs_me(console, "bob", second)
    with policy("two_gates", edit_needs_another=True), person("sam", "reviewer", "operator"):
        gate = start(console, "olga", "two_gates")
        assert vote(console, "sam", gate, "skip").json()["decision"] is None
        assert vote(console, "olga", read(console, gate), "skip").status_code == 403, "olga gave the input"
    assert User.objects.filter(username="sam").exists()


# Whose input it is


def test_the_author_of_the_input_never_votes_through_fork_and_replay(console: Console) -> None:
    with person("ollie", "reviewer", "operator"), person("rita", "reviewer", "admin"):
        own = start(console, "ollie")
        thread_id, at = own["thread_id"], own["checkpoint_id"]
        copy = console.pending(forked(console, thread_id, at, edits=LOWER)["thread_id"])
        deeper = console.pending(forked(console, copy["thread_id"], copy["checkpoint_id"])["thread_id"])
        with console.api("rita") as rita:
            replay = {"checkpoint_id": at, "confirm": thread_id}
            rita.post(f"/threads/{thread_id}/replay", json=replay).raise_for_status()
        replayed = wait_for(lambda: _newer(console, thread_id, own), what="the question to be asked again")
        through = f", through {thread_id}, of which it is a fork, so somebody else must decide."
        for approval, told in (
            (replayed, "You gave this thread its input, so"),
            (copy, f"You gave this thread its input{through}"),
            (deeper, f"You gave this thread its input{through}"),
        ):
            refused = vote(console, "ollie", approval)
            assert code_of(refused) == (403, "denied"), approval["thread_id"]
            assert told in refused.json()["error"]["message"]
            assert not needs_me(console, "ollie", approval)
        refused = vote(console, "rita", replayed)
        assert "You had this thread go back to an earlier checkpoint" in refused.json()["error"]["message"]
        assert not needs_me(console, "rita", replayed) and needs_me(console, "rita", copy)
        for approval in (replayed, copy, deeper):
            assert needs_me(console, "alice", approval)
            assert vote(console, "alice", approval).status_code == 201


def _newer(console: Console, thread_id: str, old: dict[str, Any]) -> dict[str, Any] | None:
    found = asked(console, thread_id).values()
    return next((each for each in found if each["id"] != old["id"]), None)


@pytest.mark.full
def test_who_forks_has_a_part_in_it_and_a_policy_may_allow_it(console: Console) -> None:
    own = start(console, "olga")
    with person("finn", "reviewer", "operator"):
        with policy("voting", may_decide_own=True):
            allowed = console.pending(_fork(console, "finn", own))
        refused = console.pending(_fork(console, "finn", own))
        assert "You forked this thread" in vote(console, "finn", refused).json()["error"]["message"]
        assert vote(console, "finn", allowed).status_code == 201


def _fork(console: Console, by: str, approval: dict[str, Any]) -> str:
    with console.api(by) as api:
        given = {"checkpoint_id": approval["checkpoint_id"]}
        return str(
            api.post(f"/threads/{approval['thread_id']}/fork", json=given).raise_for_status().json()["thread_id"]
        )


def test_a_fork_has_nothing_of_what_came_after_its_place(console: Console) -> None:
    with person("ada1", "reviewer", "operator"), person("ben1", "reviewer", "operator"):
        first = start(console, "ada1", "gated")
        decide(console, first, "approve")
        is_over(console, first["thread_id"])
        with console.api("ben1") as ben:
            more = {"assistant_id": "gated", "input": {"text": "more"}}
            ben.post(f"/threads/{first['thread_id']}/runs", json=more).raise_for_status()
        second = console.pending(first["thread_id"])
        # Both gave it something, whoever came last.
        assert code_of(vote(console, "ada1", second)) == code_of(vote(console, "ben1", second)) == (403, "denied")
        early = console.pending(_fork(console, "olga", first))
        late = console.pending(_fork(console, "olga", second))
        assert code_of(vote(console, "ada1", early)) == (403, "denied")
        assert vote(console, "ben1", early).status_code == 201
        assert code_of(vote(console, "ada1", late)) == code_of(vote(console, "ben1", late)) == (403, "denied")
        assert history(console, late["thread_id"])


ANA = Author("ana", "input")


@pytest.mark.parametrize(
    ("author", "rule", "told"),
    [
        (ANA, Rule(), "You gave this thread its input, so"),
        (ANA, Rule(may_decide_own=True), ""),
        (Author("ana", "input", "t1"), Rule(), "You gave this thread its input, through t1, of which it is a fork, so"),
        (Author("ana", "fork"), Rule(), "You forked this thread, so"),
        (Author("ana", "replay"), Rule(), "You had this thread go back"),
        (Author("ana", "edit"), Rule(), ""),
        (Author("ana", "edit"), Rule(edit_needs_another=True), "You proposed an edit or an answer"),
        (
            Author("ana", "edit"),
            Rule(edit_needs_another=True, may_decide_own=True),
            "You proposed an edit or an answer",
        ),
        (Author("ben", "input"), Rule(), ""),
    ],
)
def test_why_an_author_may_not_vote(database: str, author: Author, rule: Rule, told: str) -> None:
    from approvals.domain import voters

    assert voters.why_not_author(authors=[author], started_by="", voter="ana", rule=rule).startswith(told)
    assert bool(voters.why_not_author(authors=[author], started_by="", voter="ana", rule=rule)) is bool(told)
    assert voters.own_names(authors=[author], started_by="", rule=rule) == ({author.name} if told else set()) or (
        author.name == "ben"
    )


def test_threads_from_before_get_their_authors_from_their_runs(database: str) -> None:
    from django.db import connection, transaction

    from approvals.models import Run, Thread

    migration = importlib.import_module("approvals.migrations.0011_people")
    names = [f"old-{uuid.uuid4()}" for _ in range(3)]
    with transaction.atomic():
        for name, source in zip(names, ["", *names], strict=False):
            Thread.objects.create(id=name, forked_from=source)
        for name, by, kind in ((names[0], "ana", "start"), (names[0], "ben", "replay"), (names[1], "cy", "fork")):
            Run.objects.create(thread_id=name, graph_id="gated", kind=kind, status="finished", started_by=by)
        with connection.cursor() as cursor:
            cursor.execute(migration.AUTHORS)
        found = [
            {(each["name"], each["how"], each["of"]) for each in Thread.objects.get(pk=name).authors} for name in names
        ]
        transaction.set_rollback(True)
    assert found[0] == {("ana", "input", ""), ("ben", "replay", "")}
    assert found[1] == {("cy", "fork", ""), ("ana", "input", names[0]), ("ben", "replay", names[0])}
    assert found[2] == {("cy", "fork", names[1]), ("ana", "input", names[0]), ("ben", "replay", names[0])}


# Since when


def test_a_role_that_is_given_later_is_no_vote_on_what_was_asked_before(console: Console) -> None:
    from django.contrib.auth.models import Group

    before = start(console, "olga")
    with person("nina", "reviewer") as nina:
        assert not needs_me(console, "nina", before)
        refused = vote(console, "nina", before)
        assert code_of(refused) == (403, "denied")
        assert "You were given this role after this was asked" in refused.json()["error"]["message"]
        after = start(console, "olga")
        assert needs_me(console, "nina", after)
        # Taken away it ends at once; given back it counts from then on.
        nina.groups.clear()
        assert code_of(vote(console, "nina", after)) == (403, "denied")
        nina.groups.set(Group.objects.filter(name="reviewer"))
        assert code_of(vote(console, "nina", after)) == (403, "denied")
        newest = start(console, "olga")
        assert vote(console, "nina", newest).status_code == 201
    with person("nils", "operator"):
        assert code_of(vote(console, "nils", before, "skip")) == (403, "denied")


def test_a_group_that_a_policy_names_counts_from_when_it_was_joined(console: Console) -> None:
    from django.contrib.auth.models import Group

    group, _ = Group.objects.get_or_create(name=f"payers-{uuid.uuid4()}")
    try:
        with person("pia", "reviewer") as pia, policy("voting", groups=[group.name]):
            before = start(console, "olga")
            assert "only" in _problem(before) or "nobody may vote" in _problem(before)
            pia.groups.add(group)
            assert code_of(vote(console, "pia", before)) == (403, "denied")
            assert not needs_me(console, "pia", before) and "nobody may vote" in _problem(before)
            after = start(console, "olga")
            assert needs_me(console, "pia", after) and _problem(after) == ""
            assert vote(console, "pia", after).status_code == 201
    finally:
        group.delete()


def _problem(approval: dict[str, Any]) -> str:
    """Return what the page says if too few people may vote."""
    page = page_of("alice", f"/approvals/{approval['id']}/")
    found = re.search(r'id="too-few">([^<]*)<', page)
    return found[1] if found else ""


def test_a_question_in_the_place_of_another_is_asked_then(console: Console) -> None:
    approval = start(console, "olga")
    with person("nora", "reviewer"):
        assert code_of(vote(console, "nora", approval)) == (403, "denied")
        from django.db.models.functions import Now

        change_question(approval, asked_at=Now())  # as when another was written in its place
        assert vote(console, "nora", approval).status_code == 201
    assert status(console, approval["thread_id"]) in ("busy", "idle", "interrupted")
