"""What is drawn is what was asked, and what a decision rests on stands in the log; else nobody decides on it."""

import re
import secrets
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from agentcore.testing import failpoints
from tests.approvals.test_second_person import person, start
from tests.console import Console
from tests.scale import share, some
from tests.voting import code_of, policy, read, vote

FORGED = """[{"allowed":[],"args":{"amount":1.0,"payee":"Red Cross"},"name":"act"}]"""
COLUMNS = {
    "actions": FORGED,
    "state": '{"amount":1.0,"payee":"Red Cross"}',
    "request": "{}",
    "title": "Give 1.00 to the Red Cross",
    "summary": "1.00",
    "next": '["elsewhere"]',
    "allowed_verdicts": '["approve"]',
    "answer_schema": "{}",
    "kind": "plain",
    "required_votes": "7",
    "rule": '{"source": "default", "approvals": 1, "needs_reason": false, "deadline_minutes": 1}',
    "proposal": '{"verdict":"skip","edits":{},"answer":null,"as_node":"","seen_preview":"","is_answered":false}',
    "checkpoint_ns": "sub:1",
    "due_at": "2099-01-01",
}


@contextmanager
def changed(database: str, approval: dict[str, Any], **columns: str) -> Iterator[None]:
    """Have whoever owns the database change a question, for as long as the block runs."""
    names = list(columns)
    where = "WHERE id = %s"
    with psycopg.connect(database, autocommit=True) as owner:
        before = owner.execute(
            f"SELECT {', '.join(names)} FROM approvals_approval {where}", [approval["id"]]
        ).fetchone()
        setting = ", ".join(f"{name} = %s" for name in names)
        owner.execute(f"UPDATE approvals_approval SET {setting} {where}", [*columns.values(), approval["id"]])
        try:
            yield
        finally:
            values = [
                psycopg.types.json.Jsonb(each) if isinstance(each, dict | list) else each for each in before or ()
            ]
            owner.execute(f"UPDATE approvals_approval SET {setting} {where}", [*values, approval["id"]])


@pytest.fixture(scope="module")
def approval(console: Console) -> dict[str, Any]:
    return console.pause("gated", {"text": "records"})


@pytest.mark.parametrize("column", COLUMNS)
def test_a_question_of_which_anything_was_changed_is_marked_and_not_decided(
    console: Console, database: str, approval: dict[str, Any], column: str
) -> None:
    with changed(database, approval, **{column: COLUMNS[column]}):
        told = read(console, approval)
        refused = vote(console, "alice", {**approval, "digest": told["digest"]})
    assert code_of(refused) == (409, "altered"), refused.text
    assert column in refused.json()["error"]["detail"]["columns"]
    assert told["altered"] == refused.json()["error"]["message"]
    assert "fork the thread" in told["altered"] and column.replace("_", " ") in told["altered"]


def test_row_and_digests_changed_together_are_found_too(
    console: Console, database: str, approval: dict[str, Any]
) -> None:
    forged = "a" * 64
    with changed(database, approval, actions=FORGED, digest=forged, shown_digest=forged):
        assert code_of(vote(console, "alice", {**approval, "digest": forged})) == (409, "altered")


def test_its_page_says_so_and_its_bar_is_shut_and_the_log_has_it_once(
    console: Console, database: str, approval: dict[str, Any]
) -> None:
    from django.contrib.auth.models import User
    from django.test import Client

    alice = Client(SERVER_NAME="127.0.0.1")
    alice.force_login(User.objects.get(username="alice"))
    with changed(database, approval, summary="1.00 to the Red Cross, once"):
        page = alice.get(f"/approvals/{approval['id']}/").content.decode()
        queue = alice.get("/", {"tab": "open", "q": approval["thread_id"]}).content.decode()
        bulk = alice.get("/approvals/bulk/", {"id": approval["id"]})
        alice.get(f"/approvals/{approval['id']}/")
        vote(console, "alice", approval)
    assert 'id="untrue"' in page and "Nobody can decide it" in page
    shut = [re.search(f'<button[^>]* id="{button}"[^>]*>', page) for button in ("approve", "edit-open", "reject-open")]
    assert all(button is None or " disabled" in button.group() for button in shut) and any(shut)
    assert 'id="why-none"' in page
    assert ">Altered</span>" in queue
    assert bulk.status_code == 404 or "It is left out" in bulk.content.decode()
    with console.api("erin") as erin:
        about = {"thread_id": approval["thread_id"], "action": "approval.altered"}
        entries = erin.get("/audit", params=about).json()["items"]
    assert len([entry for entry in entries if entry["object"]["columns"] == ["summary"]]) == 1


def test_a_question_that_is_as_it_was_is_decided(console: Console, database: str) -> None:
    asked = console.pause("gated", {"text": "restored"})
    with changed(database, asked, actions=FORGED):
        assert code_of(vote(console, "alice", asked)) == (409, "altered")
    assert read(console, asked)["altered"] == ""
    assert vote(console, "alice", asked).status_code == 201


def test_control_without_the_check_what_was_never_shown_is_decided(
    console: Console, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.contrib.auth.models import User

    from approvals.actions.votes import ballots, votes

    asked = console.pause("gated", {"text": "control"})
    monkeypatch.setenv("COUNTERSIGN_TESTING", "1")
    failpoints.arm("row_check", "off")
    try:
        with changed(database, asked, actions=FORGED):
            ballot = ballots.Ballot("approve", asked["digest"], {})
            by = User.objects.get(username="alice")
            assert votes.cast(approval_id=uuid.UUID(asked["id"]), ballot=ballot, by=by).decision
    finally:
        failpoints.disarm()


# --- what a decision rests on


@pytest.fixture
def mallory(database: str) -> Iterator[Any]:
    """Somebody without a role, as an admin made them."""
    from django.contrib.auth.models import User

    made = User.objects.create(username=f"mallory-{uuid.uuid4().hex[:8]}")
    yield made
    made.groups.clear()


def test_a_role_that_no_entry_gave_counts_for_nothing_until_an_admin_looks_at_it(
    console: Console, database: str, mallory: Any
) -> None:
    from django.contrib.auth.models import User

    from approvals import audit
    from approvals.actions.people import people

    asked = console.pause("gated", {"text": "role"})
    with psycopg.connect(database, autocommit=True) as owner:
        owner.execute(
            "INSERT INTO auth_user_groups (user_id, group_id, granted_at)"
            " SELECT %s, id, 'epoch' FROM auth_group WHERE name = 'reviewer'",
            [mallory.pk],
        )
    refused = vote(console, mallory.username, asked)
    assert code_of(refused) == (403, "denied")
    assert f"no entry that gives {mallory.username} this: reviewer" in refused.json()["error"]["message"]
    with audit.transaction():
        standing = people.rights_of(mallory)
        people.note_change(mallory, before=standing, by=User.objects.get(username="root"))
    assert vote(console, mallory.username, asked).status_code == 201


@pytest.mark.parametrize("how", ["inserted", "changed"])
def test_a_rule_that_no_entry_has_decides_nothing(console: Console, database: str, how: str) -> None:
    with policy("voting", approvals=2) as made:
        with psycopg.connect(database, autocommit=True) as owner:
            if how == "changed":
                owner.execute("UPDATE approvals_policy SET approvals = 1 WHERE id = %s", [made.pk])
            else:
                owner.execute(
                    "INSERT INTO approvals_policy (graph_id, node, tool, approvals, one_reject_ends, may_decide_own,"
                    " needs_reason, on_deadline, on_crash, version, changed_at, edit_needs_another) SELECT 'voting',"
                    " 'act', '', 1, true, true, false, 'escalate', 'ask', 1, now(), false"
                )
            try:
                asked = console.pause("voting", {"text": "votes", "count": 640})
                refused = vote(console, "alice", asked)
            finally:
                owner.execute("UPDATE approvals_policy SET approvals = 2 WHERE id = %s", [made.pk])
                owner.execute("DELETE FROM approvals_policy WHERE graph_id = 'voting' AND node = 'act'")
        assert code_of(refused) == (409, "unvouched")
        assert "opens the policy" in refused.json()["error"]["message"]


def test_a_token_that_no_entry_made_opens_no_decision(console: Console, database: str) -> None:
    import httpx

    from approvals.actions.people.sign_in import _digest

    asked, token = console.pause("gated", {"text": "token"}), f"cs_{secrets.token_urlsafe(32)}"
    with psycopg.connect(database, autocommit=True) as owner:
        owner.execute(
            "INSERT INTO approvals_apitoken (token_digest, user_id, created_at)"
            " SELECT %s, id, now() FROM auth_user WHERE username = 'alice'",
            [_digest(token)],
        )
        ballot = {"verdict": "approve", "seen_digest": asked["digest"]}
        refused = httpx.post(
            f"{console.url}/api/approvals/{asked['id']}/votes",
            json=ballot,
            headers={"Authorization": f"Bearer {token}"},
        )
        owner.execute("DELETE FROM approvals_apitoken WHERE token_digest = %s", [_digest(token)])
    assert code_of(refused) == (403, "denied")
    assert "no entry of the token" in refused.json()["error"]["message"]


# --- the votes that count, and who may cast them


VOTES = {
    "revived": ("UPDATE approvals_vote SET ended_at = NULL, ended_as = '' WHERE id = %(vote)s", True),
    "forged": (
        "INSERT INTO approvals_vote (id, approval_id, voter_id, verdict, edits, answer, as_node, comment, seen_digest,"
        " seen_preview, request_digest, is_own, created_at, ended_as) SELECT gen_random_uuid(), approval_id, c.id,"
        " verdict, edits, answer, as_node, comment, seen_digest, seen_preview, request_digest, is_own, v.created_at, ''"
        " FROM approvals_vote v, auth_user c WHERE v.id = %(vote)s AND c.username = 'carol'",
        True,
    ),
    "moved": (
        "UPDATE approvals_vote SET voter_id = (SELECT id FROM auth_user WHERE username = 'carol') WHERE id = %(vote)s",
        False,
    ),
    "ended": ("UPDATE approvals_vote SET ended_at = now(), ended_as = 'withdrawn' WHERE id = %(vote)s", False),
}


@pytest.mark.parametrize("how", some(VOTES, "forged", "ended"))
def test_votes_that_are_not_those_that_were_cast_decide_nothing(console: Console, database: str, how: str) -> None:
    statement, is_withdrawn = VOTES[how]
    with policy("voting", approvals=2):
        asked = console.pause("voting", {"text": how, "count": 640})
    cast = vote(console, "bob", asked).json()["vote"]["id"]
    if is_withdrawn:
        with console.api("bob") as bob:
            bob.delete(f"/approvals/{asked['id']}/votes").raise_for_status()
    with psycopg.connect(database, autocommit=True) as owner:
        assert owner.execute(statement, {"vote": cast}).rowcount == 1
        try:
            refused = vote(console, "alice", asked)
        finally:
            owner.execute("DELETE FROM approvals_vote WHERE approval_id = %s AND id <> %s", [asked["id"], cast])
            owner.execute(
                "UPDATE approvals_vote SET voter_id = u.id, ended_at = CASE WHEN %s THEN now() END, ended_as = %s"
                " FROM auth_user u WHERE u.username = 'bob' AND approvals_vote.id = %s",
                [is_withdrawn, "withdrawn" if is_withdrawn else "", cast],
            )
    assert code_of(refused) == (409, "altered"), refused.text
    assert refused.json()["error"]["detail"]["columns"] == ["votes"]
    assert "The votes on this are not those that the audit log has" in refused.json()["error"]["message"]
    assert read(console, asked)["decision"] is None
    came = vote(console, "alice", asked)
    assert came.status_code == 201, "as they were, they count"
    assert (came.json()["decision"] is None) is is_withdrawn


def test_whose_own_a_thread_is_cannot_be_taken_from_it_in_the_database(console: Console, database: str) -> None:
    with person("odette", "reviewer", "operator") as odette:
        asked = start(console, "odette")
        where = [asked["thread_id"]]
        with psycopg.connect(database, autocommit=True) as owner:
            authors = owner.execute("SELECT authors FROM approvals_thread WHERE id = %s", where).fetchone()
            owner.execute("UPDATE approvals_thread SET authors = '[]', started_by_id = NULL WHERE id = %s", where)
            refused, by_another = vote(console, "odette", asked), vote(console, "alice", asked)
            with console.api("root") as root:
                detail = read(console, asked)
                forked = root.post(
                    f"/threads/{asked['thread_id']}/fork", json={"checkpoint_id": detail["checkpoint_id"]}
                )
            owner.execute(
                "UPDATE approvals_thread SET authors = %s, started_by_id = %s WHERE id = %s",
                [psycopg.types.json.Jsonb((authors or [[]])[0]), odette.pk, *where],
            )
        for each in (refused, by_another, forked):
            assert code_of(each) == (409, "altered"), each.text
            assert each.json()["error"]["detail"]["columns"] == ["thread authors", "thread started_by"]
        assert code_of(vote(console, "odette", asked)) == (403, "denied")
        assert vote(console, "alice", asked).status_code == 201


@pytest.mark.parametrize(("column", "value"), [("graph_id", "voting"), ("bound_by", "admin"), ("forked_from", "t-1")])
def test_which_graph_runs_on_a_thread_cannot_be_changed_in_the_database(
    console: Console, database: str, approval: dict[str, Any], column: str, value: str
) -> None:
    where = [approval["thread_id"]]
    with psycopg.connect(database, autocommit=True) as owner:
        before = owner.execute(f"SELECT {column} FROM approvals_thread WHERE id = %s", where).fetchone()
        owner.execute(f"UPDATE approvals_thread SET {column} = %s WHERE id = %s", [value, *where])
        refused = vote(console, "alice", approval)
        owner.execute(f"UPDATE approvals_thread SET {column} = %s WHERE id = %s", [*(before or ()), *where])
    assert code_of(refused) == (409, "altered"), refused.text
    assert refused.json()["error"]["detail"]["columns"] == [f"thread {column}"]


@pytest.mark.parametrize(
    ("column", "value"),
    share([("proposal", "{}"), ("proposal", '{"edits":3}'), ("status", "approved"), ("status", "expired")], 1, of=2),
)
def test_what_makes_no_sense_is_marked_and_is_no_error_of_ours(
    console: Console, database: str, approval: dict[str, Any], column: str, value: str
) -> None:
    from django.contrib.auth.models import User
    from django.test import Client

    alice = Client(SERVER_NAME="127.0.0.1")
    alice.force_login(User.objects.get(username="alice"))
    with changed(database, approval, **{column: value}), console.api("alice") as api:
        told = api.get(f"/approvals/{approval['id']}")
        preview = api.post(f"/approvals/{approval['id']}/preview", json={"edits": {}})
        refused = vote(console, "alice", approval)
        page = alice.get(f"/approvals/{approval['id']}/")
    assert told.status_code == 200 and column in told.json()["altered"]
    assert code_of(preview) == code_of(refused) == (409, "altered")
    assert page.status_code == 200 and column in page.content.decode()
