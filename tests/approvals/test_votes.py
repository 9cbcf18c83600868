"""Several people decide: who may, how many it takes, what they agree on, and what their votes come to."""

import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.console import Console, refund, wait_for
from tests.edited import drifting
from tests.graphs import times_run
from tests.races.test_moved_threads import MOVES, agent
from tests.voting import LOWER, change_question, code_of, policy, read, vote

OTHER = {"count": {"op": "set", "value": 70}}
CHEAP = {"amount": {"op": "set", "value": 85.0}}
STOP = {"stop": {"op": "set", "value": True}}


def pause(console: Console, **input: Any) -> dict[str, Any]:
    return console.pause("voting", {"text": "votes", "count": 640, **input})


def test_two_of_two_go_on_after_the_second(console: Console, data_dir: Path) -> None:
    """Each says why; nobody votes twice, and the same key is no second vote."""
    with policy("voting", approvals=2, needs_reason=True):
        approval = pause(console)
    assert code_of(vote(console, "alice", approval, comment="  ")) == (422, "invalid_answer")
    key = str(uuid.uuid4())
    first = vote(console, "alice", approval, comment="Fine.", idempotency_key=key).json()
    assert (first["required_votes"], first["approvals_so_far"], first["decision"], first["run"]) == (2, 1, None, None)
    told = read(console, approval)
    assert (told["status"], told["approvals_so_far"], told["digest"]) == ("pending", 1, approval["digest"])
    again = vote(console, "alice", approval, comment="Fine.", idempotency_key=key)
    assert (again.status_code, again.json()["approvals_so_far"]) == (200, 1)
    assert code_of(vote(console, "alice", approval, comment="Fine.")) == (409, "already_voted")
    assert times_run(data_dir, approval["thread_id"], "act") == 0
    second = vote(console, "bob", approval, comment="Also fine.").json()
    assert (second["approvals_so_far"], second["decision"]["decided_by"]) == (2, "alice, bob")
    assert second["decision"]["comment"] == "Fine.\nAlso fine."
    console.run_of(approval["id"])
    assert times_run(data_dir, approval["thread_id"], "act") == 1


def test_one_rejection_ends_it_or_waits_until_too_few_are_left(console: Console, data_dir: Path) -> None:
    with policy("voting", approvals=2):
        strict = pause(console)
    with policy("voting", approvals=2, one_reject_ends=False, people=["alice", "bob", "carol"]):
        won, lost = pause(console), pause(console)
    assert vote(console, "alice", strict, "reject", comment="No.").json()["decision"]["verdict"] == "reject"
    # Two of three: the rejection of one is outvoted.
    assert vote(console, "carol", won, "reject", comment="No.").json()["decision"] is None
    assert vote(console, "alice", won).json()["decision"] is None
    assert vote(console, "bob", won).json()["decision"]["decided_by"] == "alice, bob"
    # With two against, two can no longer be reached.
    assert vote(console, "carol", lost, "reject", comment="No.").json()["decision"] is None
    ended = vote(console, "bob", lost, "reject", comment="Never.").json()["decision"]
    assert (ended["verdict"], ended["decided_by"], ended["comment"]) == ("reject", "carol, bob", "No.\nNever.")
    console.run_of(won["id"])
    console.run_of(lost["id"])
    assert times_run(data_dir, won["thread_id"], "act") == 1
    assert times_run(data_dir, lost["thread_id"], "act") == 0


@pytest.mark.full
def test_only_the_people_and_groups_of_the_policy_vote(console: Console) -> None:
    from django.contrib.auth.models import Group, User

    with policy("voting", people=["alice"]):
        for_alice = pause(console)
    group, _ = Group.objects.get_or_create(name="treasury")
    User.objects.get(username="bob").groups.add(group)
    try:
        with policy("voting", groups=["treasury"]):
            for_treasury = pause(console)
        assert code_of(vote(console, "bob", for_alice)) == (403, "denied")
        assert code_of(vote(console, "alice", for_treasury)) == (403, "denied")
        assert vote(console, "bob", for_treasury).status_code == 201
        assert vote(console, "alice", for_alice).status_code == 201
    finally:
        group.delete()


@pytest.mark.full
def test_who_started_the_run_votes_only_where_the_policy_says_so(console: Console) -> None:
    from django.contrib.auth.models import Group, User

    ollie, _ = User.objects.get_or_create(username="ollie")
    ollie.groups.set(Group.objects.filter(name__in=["reviewer", "operator"]))

    def start() -> dict[str, Any]:
        with console.api("ollie") as api:
            thread_id = api.post("/threads", json={}).json()["thread_id"]
            api.post(f"/threads/{thread_id}/runs", json={"assistant_id": "voting", "input": {"text": "own"}})
        return console.pending(thread_id)

    own = start()
    assert code_of(vote(console, "ollie", own)) == (403, "denied")
    with policy("voting", may_decide_own=True):
        allowed = start()
    assert vote(console, "ollie", allowed).status_code == 201
    ollie.groups.clear()


def test_an_edit_is_a_proposal_that_others_agree_with(console: Console, data_dir: Path) -> None:
    with policy("voting", approvals=2):
        approval = pause(console)
    assert vote(console, "alice", approval).json()["approvals_so_far"] == 1
    proposed = vote(console, "bob", approval, edits=LOWER).json()
    assert (proposed["approvals_so_far"], proposed["decision"]) == (1, None)
    told = read(console, approval)
    assert told["digest"] != approval["digest"]
    assert (told["proposal"]["verdict"], told["proposal"]["edits"]) == ("approve", LOWER)
    assert {each["voter"]: each["ended_as"] for each in told["votes"]} == {"alice": "cleared", "bob": None}
    # Who saw what the agent asked does not agree with bob by accident.
    assert code_of(vote(console, "carol", approval)) == (409, "stale")
    agreed = vote(console, "alice", told).json()
    assert (agreed["decision"]["decided_by"], agreed["decision"]["edits"]) == ("bob, alice", LOWER)
    console.run_of(approval["id"])
    with console.api("alice") as alice:
        assert alice.get(f"/threads/{approval['thread_id']}/state").json()["values"]["count"] == 80


def test_a_proposal_goes_with_the_last_vote_for_it_and_another_edit_is_another(console: Console) -> None:
    with policy("voting", approvals=2):
        approval = pause(console)
    assert vote(console, "bob", approval, edits=LOWER).status_code == 201
    proposed = read(console, approval)
    with console.api("bob") as bob:
        bob.delete(f"/approvals/{approval['id']}/votes").raise_for_status()
    told = read(console, approval)
    assert (told["proposal"], told["digest"]) == (None, approval["digest"])
    refused = vote(console, "carol", proposed)
    assert code_of(refused) == (409, "stale")
    assert "no longer proposed: what the agent asks stands again" in refused.json()["error"]["message"]
    assert vote(console, "bob", approval, edits=LOWER).status_code == 201
    first = read(console, approval)
    assert vote(console, "alice", first, edits=OTHER).json()["decision"] is None
    second = read(console, approval)
    assert second["proposal"]["edits"] == OTHER
    assert code_of(vote(console, "carol", first)) == (409, "stale")
    assert vote(console, "carol", second).json()["decision"]["edits"] == OTHER


def test_a_vote_is_withdrawn_and_cast_again(console: Console) -> None:
    with policy("voting", approvals=2):
        approval = pause(console)
    assert vote(console, "alice", approval).status_code == 201
    with console.api("alice") as alice:
        taken = alice.delete(f"/approvals/{approval['id']}/votes")
        assert (taken.status_code, taken.json()["ended_as"]) == (200, "withdrawn")
        assert code_of(alice.delete(f"/approvals/{approval['id']}/votes")) == (404, "not_found")
    assert read(console, approval)["approvals_so_far"] == 0
    assert vote(console, "bob", approval).json()["decision"] is None
    assert vote(console, "alice", approval).json()["decision"]["decided_by"] == "bob, alice"
    with console.api("alice") as alice:
        assert code_of(alice.delete(f"/approvals/{approval['id']}/votes")) == (409, "already_decided")


@pytest.mark.full
def test_one_vote_that_decides_with_an_edit_keeps_what_it_leads_to(console: Console) -> None:
    approval = pause(console)
    assert vote(console, "bob", approval, edits=LOWER).json()["decision"]["edits"] == LOWER
    told = read(console, approval)["proposal"]
    assert (told["by"], told["edits"]) == ("bob", LOWER)
    assert told["preview"]["digest"]


def test_the_graph_says_how_its_node_is_decided_until_an_admin_does(console: Console) -> None:
    written = console.pause("written", {"text": "by its author"})
    assert (written["policy"]["source"], written["required_votes"]) == ("the graph's metadata", 2)
    assert code_of(vote(console, "alice", written)) == (422, "invalid_answer")
    assert vote(console, "alice", written, comment="Yes.").json()["decision"] is None
    with policy("written"):
        wider = console.pause("written", {"text": "an admin wrote one for the whole graph"})
        with policy("written", node="act"):
            ours = console.pause("written", {"text": "by an admin"})
    assert wider["required_votes"] == 2, "what is said of the node itself is more specific"
    assert (ours["policy"]["source"], ours["required_votes"]) == ("written / act v1", 1)
    assert vote(console, "alice", ours).json()["decision"]["decided_by"] == "alice"
    # The question that was open keeps the rule it was asked under.
    assert vote(console, "bob", written, comment="Yes.").json()["decision"]["decided_by"] == "alice, bob"


def test_a_vote_of_somebody_who_may_no_longer_vote_counts_no_more(console: Console) -> None:
    from django.contrib.auth.models import User

    with policy("voting", approvals=2):
        approval = pause(console)
    vote(console, "bob", approval).raise_for_status()
    User.objects.filter(username="bob").update(is_active=False)
    try:
        answer = vote(console, "alice", approval)
    finally:
        User.objects.filter(username="bob").update(is_active=True)
    assert (answer.status_code, answer.json()["decision"]) == (201, None)
    votes = {each["voter"]: each["ended_as"] for each in read(console, approval)["votes"]}
    assert votes == {"bob": "lapsed", "alice": None}
    assert vote(console, "bob", approval).json()["decision"]["decided_by"] == "alice, bob"


def test_the_most_specific_policy_counts(console: Console) -> None:
    with policy("voting", approvals=2), policy("voting", node="act", approvals=3), policy("gated", approvals=5):
        approval = pause(console)
    assert (approval["policy"]["source"], approval["required_votes"]) == ("voting / act v1", 3)


def test_everybody_may_read_the_policies(console: Console) -> None:
    with policy("voting", approvals=2, people=["alice"], groups=["reviewer"], deadline_minutes=90) as made:
        with console.api("erin") as erin:
            [told] = [each for each in erin.get("/policies").json() if each["id"] == made.pk]
    assert (told["graph"], told["node"], told["version"], told["rule"]["source"]) == ("voting", "", 1, "voting v1")
    assert told["rule"]["voters"] == [{"people": ["alice"], "groups": ["reviewer"]}]
    assert "2 people must approve the same." in told["rule"]["sentences"]
    assert "Of the reviewers, alice or members of reviewer may vote." in told["rule"]["sentences"]
    assert "Without a decision after 90 minutes every reviewer may vote as well." in told["rule"]["sentences"]


def test_each_change_of_a_policy_is_a_version_and_an_entry(console: Console) -> None:
    from django.contrib.auth.models import User

    from approvals.actions.people import policies
    from approvals.models import PolicyVersion

    with policy("voting", approvals=2) as made:
        made.approvals = 1
        made.save(update_fields=["approvals"])
        policies.note_change(made, by=User.objects.get(username="root"))
        approval = pause(console)
    assert approval["policy"]["source"] == "voting v2"
    versions = PolicyVersion.objects.filter(policy_id=made.pk).order_by("version")
    assert [version.rule and version.rule["approvals"] for version in versions] == [2, 1, None]
    assert vote(console, "alice", approval).status_code == 201
    with console.api("erin") as erin:
        entries = erin.get("/audit", params={"actor": "root", "limit": 50}).json()["items"]
        [cast] = erin.get("/audit", params={"thread_id": approval["thread_id"], "action": "vote.cast"}).json()["items"]
    of_it = [entry["action"] for entry in reversed(entries) if entry["object"].get("policy") == made.pk]
    assert of_it == ["policy.changed", "policy.changed", "policy.removed"]
    assert cast["policy_version"] == "voting v2"


def test_who_voted_is_told_when_the_agent_moves_on(console: Console, database: str) -> None:
    with policy("refund", node="senior_desk", approvals=2):
        approval = console.pause("refund", refund(640))
    assert vote(console, "alice", approval).status_code == 201
    agent(database, approval["thread_id"], MOVES["edits"])

    with console.api("alice") as alice, console.api("bob") as bob:

        def notice() -> Any:
            return next((n for n in alice.get("/notices").json() if n["approval_id"] == approval["id"]), None)

        found = wait_for(notice, what="the notice")
        assert "no longer counts" in found["text"]
        assert all(n["approval_id"] != approval["id"] for n in bob.get("/notices").json())
        assert bob.post(f"/notices/{found['id']}/seen").status_code == 404
        seen = alice.post(f"/notices/{found['id']}/seen")
        assert (seen.status_code, bool(seen.json()["seen_at"])) == (200, True)
        assert notice() is None
    [cast] = read(console, approval)["votes"]
    assert cast["ended_as"] == "superseded"


@pytest.mark.parametrize(
    "seconds", [pytest.param(0, id="queued"), pytest.param(60, id="running", marks=pytest.mark.full)]
)
def test_a_run_is_cancelled_and_nothing_more_is_written(console: Console, data_dir: Path, seconds: int) -> None:
    """`queued` is really queued: its thread's lease is somebody else's until the run was cancelled."""
    from django.utils import timezone

    from approvals.models import Thread

    approval = pause(console, seconds=seconds)
    if not seconds:
        far = timezone.now() + timedelta(minutes=5)
        Thread.objects.filter(pk=approval["thread_id"]).update(lease_owner="nobody", lease_until=far)
    run = vote(console, "alice", approval).json()["run"]
    if seconds:
        wait_for(lambda: times_run(data_dir, approval["thread_id"], "act"), what="the node to begin")
    with console.api("erin") as erin, console.api("alice") as alice:
        assert code_of(erin.post(f"/runs/{run['id']}/cancel")) == (403, "denied")
        cancelled = alice.post(f"/runs/{run['id']}/cancel")
        assert (cancelled.status_code, cancelled.json()["countersign_status"]) == (200, "cancelled")
        assert "Cancelled by alice." in cancelled.json()["problem"]
        assert ("may have been running" in cancelled.json()["problem"]) is bool(seconds)
        assert code_of(alice.post(f"/runs/{run['id']}/cancel")) == (409, "conflict")
        state = alice.get(f"/threads/{approval['thread_id']}/state").json()
        assert state["checkpoint"]["checkpoint_id"] == approval["checkpoint_id"]
        assert alice.get(f"/threads/{approval['thread_id']}").json()["status"] == "idle"
    # Whoever had the thread has it no more: new input begins at once, while the old node still sleeps.
    with console.api("olga") as olga:
        again = {"assistant_id": "voting", "input": {"text": "again", "seconds": 0}}
        olga.post(f"/threads/{approval['thread_id']}/runs", json=again).raise_for_status()
    assert console.pending(approval["thread_id"])["state"]["text"] == "again"


# What an edit leads to


def test_who_agrees_is_shown_what_the_edit_leads_to_and_agrees_with_exactly_that(console: Console) -> None:
    from approvals.domain.policies import digest_with
    from approvals.models import Approval

    with policy("refund", node="senior_desk", approvals=2):
        approval = console.pause("refund", refund(900))
    assert vote(console, "alice", approval, edits=CHEAP).status_code == 201  # without having asked for a preview
    told = read(console, approval)
    shown = told["proposal"]["preview"]
    assert (shown["next_before"], shown["next"], shown["title"]) == (["senior_desk"], ["pay_refund"], "Pay the refund")
    assert shown["summary"] == "85.00 EUR to “Mei-Ling Chen”"
    [action] = shown["actions"]
    assert (action["name"], action["args"]["amount"]) == ("pay_refund", 85.0)
    assert "Cannot be undone" in action["description"]
    assert [(change["channel"], change["before"], change["after"]) for change in shown["diff"]] == [
        ("amount", 900.0, 85.0)
    ]
    with console.api("bob") as bob:
        same = bob.post(f"/approvals/{approval['id']}/preview", json={"edits": CHEAP}).json()
    assert shown["digest"] == same["digest"]
    stored = Approval.objects.get(pk=approval["id"])
    assert stored.digest == digest_with(stored.shown_digest, stored.proposal), "it covers what bob is shown"
    assert stored.proposal is not None
    forged = {**stored.proposal, "preview": {**stored.proposal["preview"], "next": ["senior_desk"]}}
    assert stored.digest != digest_with(stored.shown_digest, forged)
    other = vote(console, "bob", told, seen_preview="0" * 64)
    assert code_of(other) == (409, "other_preview")
    assert vote(console, "bob", told, seen_preview=shown["digest"]).json()["decision"]["decided_by"] == "alice, bob"
    console.run_of(approval["id"])
    with console.api("erin") as erin:
        [entry] = erin.get("/audit", params={"thread_id": approval["thread_id"], "action": "decision.reached"}).json()[
            "items"
        ]
    assert entry["digests"]["preview"] == shown["digest"]


def test_a_preview_of_another_edit_or_of_none_is_refused(console: Console) -> None:
    approval = console.pause("refund", refund(900))
    with console.api("alice") as alice:
        shown = alice.post(f"/approvals/{approval['id']}/preview", json={"edits": CHEAP}).json()
    dear = {"amount": {"op": "set", "value": 90.0}}
    assert code_of(vote(console, "alice", approval, edits=dear, seen_preview=shown["digest"])) == (409, "other_preview")
    assert code_of(vote(console, "alice", approval, seen_preview=shown["digest"])) == (409, "other_preview")
    assert read(console, approval)["status"] == "pending"
    assert vote(console, "alice", approval, edits=CHEAP, seen_preview=shown["digest"]).status_code == 201


def test_the_same_edit_that_leads_elsewhere_by_now_is_another_proposal(console: Console, data_dir: Path) -> None:
    with policy("fickle", approvals=2):
        approval = console.pause("fickle", {"drifted": 75, "facts": {}})
    vote(console, "alice", approval, edits=STOP).raise_for_status()
    drifting(data_dir, 75).touch()
    again = vote(console, "bob", read(console, approval), edits=STOP).json()
    assert (again["approvals_so_far"], again["decision"]) == (1, None)
    told = read(console, approval)
    assert told["proposal"]["preview"]["title"] == "Hand over"
    assert {each["voter"]: each["ended_as"] for each in told["votes"]} == {"alice": "cleared", "bob": None}


def test_what_the_agent_asks_can_be_approved_although_something_else_is_proposed(console: Console) -> None:
    with policy("refund", node="senior_desk", approvals=2):
        approval = console.pause("refund", refund(900))
    vote(console, "root", approval, "skip").raise_for_status()
    skipped = read(console, approval)
    shown = skipped["proposal"]["preview"]  # to skip is bound to where it leads too
    assert (shown["next_before"], shown["next"]) == (["senior_desk"], ["notify_customer"])
    vote(console, "alice", skipped, edits=CHEAP).raise_for_status()
    told = read(console, approval)
    assert code_of(vote(console, "bob", told, edits=CHEAP, as_asked=True)) == (422, "invalid_answer")
    assert vote(console, "bob", told, as_asked=True).json()["decision"] is None
    asked = read(console, approval)
    assert (asked["proposal"], asked["digest"]) == (None, approval["digest"])
    ended = {each["voter"]: each["ended_as"] for each in asked["votes"]}
    assert ended == {"root": "cleared", "alice": "cleared", "bob": None}
    assert vote(console, "carol", asked).json()["decision"]["edits"] == {}


def test_a_proposal_from_before_previews_were_kept_is_proposed_again(console: Console) -> None:
    from approvals.models import Approval

    with policy("refund", node="senior_desk", approvals=2):
        approval = console.pause("refund", refund(900))
    vote(console, "alice", approval, edits=CHEAP).raise_for_status()
    stored = Approval.objects.get(pk=approval["id"])
    assert stored.proposal is not None
    old = {name: value for name, value in stored.proposal.items() if name != "preview"} | {"seen_preview": ""}
    change_question(approval, proposal=old)
    told = read(console, approval)
    assert told["proposal"]["preview"] is None
    assert code_of(vote(console, "bob", told)) == (409, "stale")
    assert vote(console, "bob", told, edits=CHEAP).json()["decision"] is None
    assert vote(console, "alice", read(console, approval)).json()["decision"]["edits"] == CHEAP
