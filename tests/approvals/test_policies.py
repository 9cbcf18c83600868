"""Policies take values and return a verdict: who may vote, what the votes come to, and how rules are read."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from approvals.domain import policies
from approvals.domain.policies import Proposal, Rule, Voters, rule_from_metadata, strictest, tally

NOW = datetime(2026, 1, 31, 14, 0, tzinfo=UTC)
LENIENT = Rule(one_reject_ends=False)


@pytest.mark.parametrize(
    ("rule", "approving", "rejecting", "voters", "outcome"),
    [
        # One is enough.
        (Rule(), 1, 0, 0, "approve"),
        (Rule(), 0, 1, 0, "reject"),
        # Two are needed.
        (Rule(approvals=2), 1, 0, 0, ""),
        (Rule(approvals=2), 2, 0, 0, "approve"),
        (Rule(approvals=2), 1, 1, 0, "reject"),
        # One rejection does not end it, while enough others are left.
        (Rule(approvals=2, one_reject_ends=False), 0, 1, 3, ""),
        (Rule(approvals=2, one_reject_ends=False), 1, 1, 3, ""),
        (Rule(approvals=2, one_reject_ends=False), 2, 1, 3, "approve"),
        (Rule(approvals=2, one_reject_ends=False), 0, 2, 3, "reject"),
        (Rule(approvals=2, one_reject_ends=False), 1, 1, 2, "reject"),
        (LENIENT, 0, 1, 1, "reject"),
        # Nobody has rejected: too few voters alone decide nothing.
        (Rule(approvals=3, one_reject_ends=False), 1, 0, 2, ""),
        (Rule(approvals=3), 0, 0, 0, ""),
    ],
)
def test_votes_come_to(rule: Rule, approving: int, rejecting: int, voters: int, outcome: str) -> None:
    assert tally(rule, approving=approving, rejecting=rejecting, voters=voters) == outcome


def answer(value: object) -> Proposal:
    return Proposal(verdict="respond", answer=value, is_answered=True)


EDIT, OTHER = {"a": {"op": "set", "value": 1}}, {"a": {"op": "set", "value": 2}}


@pytest.mark.parametrize(
    ("vote", "standing", "agrees"),
    [
        (Proposal(), Proposal(), True),
        (Proposal(), Proposal(edits=EDIT), True),
        (Proposal(edits=EDIT), Proposal(edits=EDIT), True),
        (Proposal(edits={}), Proposal(edits=None), True),
        (Proposal(edits=EDIT), Proposal(edits=OTHER), False),
        (Proposal(edits=EDIT), Proposal(), False),
        (Proposal(verdict="skip"), Proposal(), False),
        (Proposal(verdict="skip"), Proposal(verdict="skip"), True),
        (answer("a"), answer("b"), False),
        (answer(1), answer(True), False),
        (answer(None), answer("a"), False),
        (Proposal(verdict="respond"), answer("a"), True),
    ],
)
def test_a_vote_agrees_with_the_same_or_with_no_content_of_its_own(
    vote: Proposal, standing: Proposal, agrees: bool
) -> None:
    assert vote.agrees_with(standing) is agrees


FINANCE, BOARD = Voters(groups=("finance",)), Voters(people=("ana",), groups=("board",))


@pytest.mark.parametrize(
    ("rule", "username", "groups", "is_escalated", "may"),
    [
        (Rule(), "ana", (), False, True),
        (Rule(voters=(FINANCE,)), "ana", ("finance",), False, True),
        (Rule(voters=(FINANCE,)), "ana", ("board",), False, False),
        (Rule(voters=(BOARD,)), "ana", (), False, True),
        # Two gates: one of each.
        (Rule(voters=(FINANCE, BOARD)), "ben", ("finance",), False, False),
        (Rule(voters=(FINANCE, BOARD)), "ben", ("finance", "board"), False, True),
        # After the deadline others may as well: those named, or all.
        (Rule(voters=(FINANCE,), escalate_to=("board",)), "ben", ("board",), False, False),
        (Rule(voters=(FINANCE,), escalate_to=("board",)), "ben", ("board",), True, True),
        (Rule(voters=(FINANCE,), escalate_to=("board",)), "cy", (), True, False),
        (Rule(voters=(FINANCE,)), "cy", (), True, True),
    ],
)
def test_who_may_vote(
    database: str, rule: Rule, username: str, groups: tuple[str, ...], is_escalated: bool, may: bool
) -> None:
    from approvals.domain import voters

    told = voters.why_not_named(rule, username=username, groups=groups, is_escalated=is_escalated)
    assert (told == "") is may
    assert may or rule.source in told


def test_gates_that_wait_together_are_decided_by_the_strictest() -> None:
    one = Rule("a v1", 1, (FINANCE,), False, True, False, 60, "escalate", ("board",), "resume")
    two = Rule("b v2", 3, (BOARD,), True, False, True, None, "deny", (), "ask")
    both = strictest([one, two, one])
    assert both == Rule("a v1 + b v2", 3, (FINANCE, BOARD), True, False, True, 60, "escalate", ("board",), "ask")
    assert strictest([one, one]) is one
    assert strictest([one, Rule(deadline_minutes=5, on_deadline="deny")]).on_deadline == "deny"
    assert strictest([one, Rule(deadline_minutes=5, on_deadline="deny")]).deadline_minutes == 5


def test_a_rule_is_stored_and_read_again() -> None:
    rule = Rule("x v1", 2, (FINANCE, BOARD), False, True, True, 60, "deny", ("board",), "resume")
    assert Rule.of(rule.as_dict()) == rule
    assert Rule.of({}) == Rule()


def test_metadata_of_a_node_is_a_rule() -> None:
    given = {"approvals": 2, "people": ["ana"], "groups": ["board"], "deadline_minutes": 30, "on_deadline": "deny"}
    assert rule_from_metadata(given) == Rule(
        "the graph's metadata", 2, (BOARD,), deadline_minutes=30, on_deadline="deny"
    )
    assert rule_from_metadata({}) == Rule("the graph's metadata")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([], "a policy takes"),
        ({"aprovals": 2}, "a policy takes"),
        ({"voters": []}, "a policy takes"),
        ({"source": "x"}, "a policy takes"),
        ({"approvals": 0}, "1 to 50"),
        ({"approvals": 51}, "1 to 50"),
        ({"approvals": True}, "1 to 50"),
        ({"approvals": "2"}, "1 to 50"),
        ({"people": "ana"}, "lists of names"),
        ({"groups": [1]}, "lists of names"),
        ({"escalate_to": [""]}, "lists of names"),
        ({"deadline_minutes": 0}, "deadline_minutes"),
        ({"deadline_minutes": 1.5}, "deadline_minutes"),
        ({"deadline_minutes": 10**12}, "deadline_minutes"),
        ({"on_deadline": "approve"}, "deny or escalate"),
        ({"on_crash": "retry"}, "ask or resume"),
        ({"needs_reason": "yes"}, "true or false"),
    ],
)
def test_metadata_that_is_no_rule_says_what_to_write(given: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        rule_from_metadata(given)


@pytest.mark.parametrize(
    ("by", "minutes", "voter", "is_held"),
    [("", None, "bob", False), ("ana", 5, "bob", True), ("ana", 5, "ana", False), ("ana", 0, "bob", False)],
)
def test_a_claim_holds_others_off_until_it_ends(by: str, minutes: int | None, voter: str, is_held: bool) -> None:
    until = None if minutes is None else NOW + timedelta(minutes=minutes)
    told = policies.why_not_claimed(claimed_by=by, claimed_until=until, now=NOW, voter=voter)
    assert bool(told) is is_held
    assert not is_held or "5 min left" in told


@pytest.mark.parametrize(
    ("on_deadline", "minutes", "allowed", "over"),
    [
        ("deny", -1, ["approve", "reject"], True),
        ("deny", 1, ["approve", "reject"], False),
        ("escalate", -1, ["approve", "reject"], False),
        ("deny", -1, ["respond"], False),
    ],
)
def test_a_deadline_denies_where_it_says_so_and_can(
    on_deadline: str, minutes: int, allowed: list[str], over: bool
) -> None:
    rule = Rule(deadline_minutes=60, on_deadline=on_deadline)
    assert policies.is_expired(rule, due_at=NOW + timedelta(minutes=minutes), now=NOW, allowed=allowed) is over
