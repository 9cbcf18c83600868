"""Every row that decides something agrees with the entries that made it, or a verification names it.

Whoever owns the database changes a row, in every way we could think of; and a hundred histories raise no false alarm.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import audit_logs, histories
from tests.histories import person
from tests.scale import tries

pytestmark = pytest.mark.slow

SEED = 20261129
HISTORIES = tries(1, full=100)
STEPS = 60


@pytest.fixture(scope="module")
def folder(database: str, redis: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with audit_logs.own_database(database), audit_logs.own_folder(tmp_path_factory.mktemp("audit")) as folder:
        yield folder


# --- no false alarm


@pytest.mark.timeout(1_500)
def test_no_history_of_real_actions_is_called_broken(folder: Path) -> None:
    """Each is a log of its own, from its first entry."""
    from approvals import audit
    from approvals.models import AuditEntry

    seen: set[str] = set()
    for seed in range(SEED, SEED + HISTORIES):
        histories.begin(folder, seed).play(STEPS)
        found = audit.verify()
        assert found.ok, (seed, found)
        seen |= set(AuditEntry.objects.values_list("action", flat=True))
    assert seen >= {"vote.cast", "decision.reached", "run.finished", "person.changed", "policy.changed"}


def test_the_log_is_intact_after_threads_with_folds_and_warnings_were_removed(folder: Path) -> None:
    from approvals import audit

    history = histories.begin(folder, SEED)
    history.args = {"command": "ok\n" * 400, "to": "p\N{CYRILLIC SMALL LETTER A}ypal.com"}
    asked = [question for _ in range(4) if (question := history.start())]
    assert any(question.folded and question.marks for question in asked)
    for question in asked:
        history.force_clean(question.thread_id)
    found = audit.verify()
    assert found.ok, found


# --- what is changed past the console


@dataclass(frozen=True)
class Known:
    """Rows of a log in which all of this happened, by what they are for."""

    ids: dict[str, Any]
    last: int


@pytest.fixture(scope="module")
def known(folder: Path) -> Known:
    from django.contrib.auth.models import Group

    from approvals.actions.people.sign_in import make_token
    from approvals.actions.votes import votes
    from approvals.models import ApiToken, AuditEntry, Decision, PolicyVersion, Run, Vote

    here = histories.begin(folder, SEED)
    someone = person("bob")
    someone.is_active = True
    someone.save()
    someone.groups.set(Group.objects.filter(name="reviewer"))
    policy = here.new_policy(node="act", approvals=2, deadline_minutes=None)
    group = Group.objects.create(name="g-treasury")
    someone.groups.add(group)
    make_token(someone)

    def asked() -> Any:
        from approvals.actions.runs.starts import start_run
        from approvals.actions.threads.creation import create_thread

        thread = create_thread(by=person("root"))
        about = {"graph_id": histories.GRAPH, "input": {"text": "x"}}
        return here.stop(start_run(thread_id=thread.pk, **about, by=person("root")), "gate")

    decided, cleaned, waits, again = asked(), asked(), asked(), asked()
    for each in (decided, cleaned):
        here.vote(each, "alice", verdict="approve")
        here.vote(each, "bob", verdict="approve")
        here.stop(Run.objects.get(decision__approval=each), "finish")
    here.force_clean(cleaned.thread_id)
    here.vote(waits, "alice", verdict="approve")
    withdrawn = here.vote(again, "alice", verdict="approve").vote
    votes.withdraw(approval_id=again.pk, by=person("alice"))
    here.sign()
    ids = {
        "decided": decided.pk,
        "waits": waits.pk,
        "again": again.pk,
        "decision": Decision.objects.get(approval=decided).pk,
        "cleaned decision": Decision.objects.get(approval=cleaned).pk,
        "cleaned vote": Vote.objects.filter(approval=cleaned).latest("created_at").pk,
        "counting": Vote.objects.get(approval=waits).pk,
        "withdrawn": withdrawn.pk,
        "run": Run.objects.get(decision__approval=decided).pk,
        "first run": Run.objects.filter(thread=decided.thread).earliest("created_at").pk,
        "thread": decided.thread_id,
        "policy": policy.pk,
        "version": PolicyVersion.objects.get(policy_id=policy.pk).pk,
        "group": group.pk,
        "token": ApiToken.objects.get().pk,
        "alice": person("alice").pk,
        "bob": person("bob").pk,
        "erin": person("erin").pk,
        "root": person("root").pk,
        "graph": histories.GRAPH,
    }
    return Known(ids, AuditEntry.objects.latest("seq").seq)


def sql(*statements: str) -> Callable[[Any, Known], None]:
    """Run statements in which `{name}` stands for the id of a row that is known."""

    def change(cursor: Any, known: Known) -> None:
        for statement in statements:
            names = re.findall(r"\{([a-z ]+)\}", statement)
            cursor.execute(re.sub(r"\{[a-z ]+\}", "%s", statement), [known.ids[name] for name in names])
            assert cursor.rowcount != 0, statement

    return change


def approval(setting: str, which: str = "waits") -> Callable[[Any, Known], None]:
    return sql(f"UPDATE approvals_approval SET {setting} WHERE id = {{{which}}}")


def vote(setting: str, which: str = "counting") -> Callable[[Any, Known], None]:
    return sql(f"UPDATE approvals_vote SET {setting} WHERE id = {{{which}}}")


def copied(table: str, which: str, changes: str) -> Callable[[Any, Known], None]:
    return sql(
        f"CREATE TEMPORARY TABLE copied ON COMMIT DROP AS SELECT * FROM {table} WHERE id = {{{which}}}",
        f"UPDATE copied SET {changes}",
        f"INSERT INTO {table} SELECT * FROM copied",
    )


POLICY = (
    "(graph_id, node, tool, approvals, one_reject_ends, may_decide_own, needs_reason, on_deadline, on_crash, version,"
    " changed_at, edit_needs_another) VALUES ('gated', 'elsewhere', '', 1, true, true, false, 'escalate', 'ask', 1,"
    " now(), false)"
)
PERSON = (
    "(username, password, is_active, is_staff, is_superuser, date_joined, first_name, last_name, email)"
    " VALUES ('mallory', '', true, false, true, now(), '', '', '')"
)
ROLE = "SELECT {erin}, id FROM auth_group WHERE name = 'reviewer'"

# What is done, and what a verification names: the kind of row, its id where it is known, and the column.
CHANGES: dict[str, tuple[Callable[[Any, Known], None], str, str, str]] = {
    "a decided question is open again": (approval("status = 'pending'", "decided"), "approval", "decided", "status"),
    "an open question is called approved": (approval("status = 'approved'"), "approval", "waits", "status"),
    "the state that is shown": (approval("state = '{\"amount\":1}'"), "approval", "waits", "state"),
    "the actions that are shown": (approval("actions = '[]'"), "approval", "waits", "actions"),
    "actions and both digests": (
        approval("actions = '[]', digest = repeat('a', 64), shown_digest = repeat('a', 64)"),
        "approval", "waits", "actions",
    ),
    "the digest alone": (approval("digest = repeat('a', 64)"), "approval", "waits", "digest"),
    "the rule": (approval("rule = rule || '{\"approvals\": 1}'"), "approval", "waits", "rule"),
    "how many must approve": (approval("required_votes = 1"), "approval", "waits", "required_votes"),
    "the deadline": (approval("due_at = now() - interval '1 day'"), "approval", "waits", "due_at"),
    "it is called escalated": (approval("escalated_at = now()"), "approval", "waits", "escalated_at"),
    "the proposal": (approval("proposal = '{\"verdict\":\"skip\"}'"), "approval", "waits", "proposal"),
    "the title": (approval("title = 'Give 1.00 to the Red Cross'"), "approval", "waits", "title"),
    "what may be decided": (approval("allowed_verdicts = '[\"skip\"]'"), "approval", "waits", "allowed_verdicts"),
    "its checkpoint": (approval("checkpoint_id = 'another'"), "approval", "waits", "checkpoint_id"),
    "when it was asked": (approval("asked_at = now() + interval '1 day'"), "approval", "waits", "asked_at"),
    "a question that nobody asked": (
        copied("approvals_approval", "waits", "id = gen_random_uuid(), round = 7"), "approval", "", "no entry",
    ),
    "a withdrawn vote counts again": (
        vote("ended_at = NULL, ended_as = ''", "withdrawn"), "vote", "withdrawn", "ended",
    ),
    "a vote that counts is ended": (vote("ended_at = now(), ended_as = 'withdrawn'"), "vote", "counting", "ended"),
    "a vote is moved to another question": (vote("approval_id = {again}"), "vote", "counting", "approval_id"),
    "a vote is given to another, after a rename": (
        sql(
            "UPDATE auth_user SET username = 'alicia' WHERE id = {alice}",
            "UPDATE approvals_vote SET voter_id = {bob} WHERE id = {counting}",
        ),
        "person|vote", "", "username|voter_id",
    ),
    "a vote that is somebody's own is none": (vote("is_own = NOT is_own"), "vote", "counting", "is_own"),
    "an edit is invented for a vote of a cleaned thread": (
        vote("edits = '{\"amount\":1}'", "cleaned vote"), "vote", "cleaned vote", "edits",
    ),
    "an edit is invented for a decision of a cleaned thread": (
        sql("UPDATE approvals_decision SET edits = '{\"amount\":1}' WHERE id = {cleaned decision}"),
        "decision", "cleaned decision", "edits",
    ),
    "what ran otherwise is no longer told": (
        sql("UPDATE approvals_decision SET deviations = '[\"x\"]' WHERE id = {decision}"),
        "decision", "decision", "deviations",
    ),
    "a run is gone": (sql("DELETE FROM approvals_run WHERE id = {run}"), "run", "run", "is gone"),
    "a run that ended is called failed": (
        sql("UPDATE approvals_run SET status = 'failed' WHERE id = {run}"), "run", "run", "status",
    ),
    "what a run was given": (
        sql("UPDATE approvals_run SET input = '{}' WHERE id = {first run}"), "run", "first run", "input",
    ),
    "a run that nobody began": (
        copied("approvals_run", "run", "id = gen_random_uuid(), decision_id = NULL"), "run", "", "no entry",
    ),
    "a policy by INSERT": (sql(f"INSERT INTO approvals_policy {POLICY}"), "policy", "", "no entry"),
    "a policy asks for fewer": (
        sql("UPDATE approvals_policy SET approvals = 1 WHERE id = {policy}"), "policy", "policy", "approvals",
    ),
    "a policy is gone": (
        sql(
            "DELETE FROM approvals_policy_people", "DELETE FROM approvals_policy_groups",
            "DELETE FROM approvals_policy WHERE id = {policy}",
        ),
        "policy", "policy", "is gone",
    ),
    "a policy names nobody any more": (sql("DELETE FROM approvals_policy_people"), "policy", "policy", "people"),
    "what a policy said before": (
        sql("UPDATE approvals_policyversion SET rule = '{}' WHERE id = {version}"), "version of a policy", "", "rule",
    ),
    "a role by INSERT": (
        sql(f"INSERT INTO auth_user_groups (user_id, group_id) {ROLE}"), "person", "erin", "groups",
    ),
    "a role by DELETE": (sql("DELETE FROM auth_user_groups WHERE user_id = {bob}"), "person", "bob", "groups"),
    "a role is made older": (
        sql("UPDATE auth_user_groups SET granted_at = 'epoch' WHERE user_id = {bob}"), "person", "bob", "since",
    ),
    "somebody is a superuser": (
        sql("UPDATE auth_user SET is_superuser = true WHERE id = {alice}"), "person", "alice", "is_superuser",
    ),
    "somebody is out": (sql("UPDATE auth_user SET is_active = false WHERE id = {bob}"), "person", "bob", "is_active"),
    "a person by INSERT": (sql(f"INSERT INTO auth_user {PERSON}"), "person", "", "no entry"),
    "a group by INSERT": (sql("INSERT INTO auth_group (name) VALUES ('board')"), "group", "", "no entry"),
    "a group has another name": (
        sql("UPDATE auth_group SET name = 'g-board' WHERE id = {group}"), "group|person", "", "name|groups",
    ),
    "a token by INSERT": (
        sql("INSERT INTO approvals_apitoken SELECT repeat('a', 64), now(), {root}"),
        "token", "", "no entry",
    ),
    "a token is another's": (
        sql("UPDATE approvals_apitoken SET user_id = {root} WHERE token_digest = {token}"), "token", "token", "user_id",
    ),
    "a token is gone": (
        sql("DELETE FROM approvals_apitoken WHERE token_digest = {token}"), "token", "token", "is gone",
    ),
    "who started a thread": (
        sql("UPDATE approvals_thread SET started_by_id = {erin} WHERE id = {thread}"), "thread", "thread", "started_by",
    ),
    "whom a thread has something of": (
        sql("UPDATE approvals_thread SET authors = '[]' WHERE id = {thread}"), "thread", "thread", "authors",
    ),
    "which graph runs on a thread": (
        sql("UPDATE approvals_thread SET graph_id = 'x' WHERE id = {thread}"), "thread", "thread", "graph_id",
    ),
    "how it is known which graph runs": (
        sql("UPDATE approvals_thread SET bound_by = 'admin' WHERE id = {thread}"), "thread", "thread", "bound_by",
    ),
    "what the graph's author wrote": (
        sql("UPDATE approvals_graph SET card = card || '{\"nodes\": []}' WHERE id = {graph}"), "graph", "graph", "card",
    ),
}  # fmt: skip


def test_the_log_of_what_is_known_is_intact(known: Known) -> None:
    from approvals import audit

    assert audit.verify().ok
    assert len(CHANGES) >= 28


@pytest.mark.parametrize("change", CHANGES)
def test_a_row_that_was_changed_is_found_and_named(known: Known, change: str) -> None:
    from approvals import audit
    from approvals.models import AuditEntry

    act, kind, which, what = CHANGES[change]
    with rows_in_other_hands() as cursor:
        act(cursor, known)
        found = audit.verify()
        assert not found.ok
        named = known.ids[which] if which else ".*"
        assert re.search(f"The ({kind}) {named}.*({what})", found.reason), found.reason
        assert found.first_bad is not None and found.first_bad <= known.last + 1
        if what != "no entry" and "cleaned" not in which:
            told = AuditEntry.objects.get(seq=found.first_bad).record
            assert any(re.match("policyversion" if " " in kind else kind, key) for key in told["rows"])


def rows_in_other_hands() -> Any:
    from tests.approvals.test_audit_tampering import tampering

    return tampering()


def test_without_the_comparison_they_are_not_found(known: Known, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: the chain itself is whole, whatever is done to rows."""
    from approvals import audit
    from approvals.audit.row_verification import Records

    monkeypatch.setattr(Records, "first_fault", lambda _: None)
    found = []
    for act, kind, _, _ in CHANGES.values():
        with rows_in_other_hands() as cursor:
            act(cursor, known)
            found.append((kind, audit.verify().ok))
    assert sum(ok for _, ok in found) >= len(found) - 3, "votes and decisions are compared with their entries besides"


def test_a_decision_that_counted_a_vote_nobody_cast_is_named_though_the_vote_was_put_back(
    known: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agentcore.testing import failpoints
    from approvals import audit
    from approvals.actions.votes import ballots, votes
    from approvals.audit import log
    from approvals.models import Approval, AuditEntry

    monkeypatch.setenv("COUNTERSIGN_TESTING", "1")
    revived = "UPDATE approvals_vote SET ended_at = {}, ended_as = {} WHERE id = %(withdrawn)s"
    with rows_in_other_hands() as cursor:
        cursor.execute(revived.format("NULL", "''"), known.ids)
        asked = Approval.objects.get(pk=known.ids["again"])
        failpoints.arm("row_check", "off")
        try:
            ballot = ballots.Ballot("approve", asked.digest, {})
            with log.within_django():
                assert votes.cast(approval_id=asked.pk, ballot=ballot, by=person("bob")).decision
        finally:
            failpoints.disarm()
        cursor.execute(revived.format("now()", "'withdrawn'"), known.ids)
        found = audit.verify()
        assert not found.ok and "It counts a vote that nobody cast" in found.reason, found.reason
        assert AuditEntry.objects.get(seq=found.first_bad).action == "decision.reached"


@pytest.mark.parametrize(
    ("votes", "by", "reason"),
    [
        (["1", "2"], "alice, bob", ""),
        (["1", "2"], "alice, robert", ""),
        (["1", "2"], "alice, carol", "somebody else"),
        (["1"], "alice, bob", "somebody else"),
        (["1", "3"], "alice, bob", "nobody cast"),
        (["1", "4"], "alice, bob", "nobody cast"),
        (["1", "5"], "alice, bob", "nobody cast"),
        ([], "the deadline", ""),
    ],
)
def test_a_decision_names_the_people_who_cast_its_votes(votes: list[str], by: str, reason: str) -> None:
    from approvals.audit.tally_verification import Tallies

    def cast(vote: str, actor: str, voter: int, approval: str = "A") -> dict[str, Any]:
        about, row = {"vote": vote, "approval": approval}, {"voter_id": voter, "ended_at": False}
        return {"action": "vote.cast", "actor": actor, "object": about, "rows": {f"vote:{vote}": row}}

    tallies = Tallies()
    records: list[dict[str, Any]] = [
        cast("1", "alice", 7),
        cast("2", "bob", 8),
        cast("3", "bob", 8),
        cast("4", "bob", 8, approval="B"),
        {"action": "vote.withdrawn", "object": {"vote": "3"}, "rows": {"vote:3": {"ended_at": True}}},
        {"action": "person.changed", "rows": {"person:8": {"username": "robert" if "robert" in by else "bob"}}},
        {"action": "decision.reached", "object": {"approval": "A", "votes": votes, "by": by}},
    ]
    for seq, record in enumerate(records, 1):
        tallies.see(seq, record)
    assert reason in tallies.fault.reason if tallies.fault else not reason, tallies.fault
    assert tallies.fault is None or tallies.fault.seq == len(records)
