"""Each dialect of interrupt(), each verdict, and what people and programs send: the right effect or a refusal.

A refusal changes nothing, so each dialect is paused once for all of them. The control gives the same bad answers to
LangGraph alone.
"""

import hashlib
import json
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from agentcore.graphs.snapshots import config_for, with_saver
from tests import dialects
from tests.console import Console
from tests.dialects import did
from tests.scale import IS_FULL, share
from tests.voting import code_of, read, vote


def calls(*named: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """Input that has the scripted model call these tools."""
    listed = [{"name": name, "args": args} for name, args in named]
    return {"messages": [{"role": "user", "content": json.dumps(listed)}]}


PAY = ("pay", {"order": "A1", "amount": 20.5})
WIPE = ("wipe", {"path": "/tmp/x"})
MAIL = ("send_mail", {"to": "a@example.com", "subject": "Hello"})
CAMEL = {
    "actionRequests": [{"name": "pay", "args": {"amount": 2}}, {"name": "wipe", "args": {}}],
    "reviewConfigs": [
        {"actionName": "pay", "allowedDecisions": ["approve", "edit"]},
        {"actionName": "wipe", "allowedDecisions": ["approve", "reject"]},
    ],
}
MAY = {"allow_accept": True, "allow_ignore": True, "allow_edit": True, "allow_respond": False}
INBOX = [{"action_request": {"action": "pay", "args": {"amount": 2}}, "config": MAY, "description": "Pay it."}]
TALK = [{"action_request": {"action": "ask", "args": {}}, "config": {"allow_respond": True, "allow_ignore": True}}]

ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "batched": ("d_batched", calls(PAY, WIPE, MAIL)),
    "camel": ("d_asks", {"ask": CAMEL}),
    "per call": ("d_per_call", calls(PAY)),
    "legacy": ("d_legacy", {"ask": INBOX}),
    "legacy text": ("d_asks", {"ask": json.dumps(INBOX * 2)}),
    "schema": ("d_schema", {"amount": 1}),
    "plain": ("d_asks", {"ask": {"question": "What is the limit?", "for": "A1"}}),
    "breakpoint": ("gated", {"text": "x"}),
}

YES: dict[str, Any] = {"type": "approve"}
TAKEN = {"type": "accept", "args": None}
ORDER = {"customer": "Mei-Ling", "kind": "new", "items": [{"name": "lamp", "price": 2.5}]}


def edit(name: str, **args: Any) -> dict[str, Any]:
    return {"type": "edit", "edited_action": {"name": name, "args": args}}


def camel_edit(name: str, **args: Any) -> dict[str, Any]:
    return {"type": "edit", "editedAction": {"name": name, "args": args}}


def change(name: str, **args: Any) -> dict[str, Any]:
    return {"type": "edit", "args": {"action": name, "args": args}}


def decisions(*each: Any) -> dict[str, Any]:
    return {"decisions": list(each)}


RIGHT: dict[str, Any] = {
    "batched": decisions(edit("pay", order="A1", amount=7), {"type": "reject", "message": "No."}, YES),
    "camel": decisions(camel_edit("pay", amount=1), {"type": "reject"}),
    "per call": edit("pay", order="A1", amount=7),
    "legacy": [change("pay", amount=3)],
    "legacy text": [TAKEN, {"type": "ignore", "args": None}],
    "schema": ORDER,
    "plain": {"limit": 100},
}

# Answers that do not fit: the dialect, what is wrong, the answer, the path of the fault, and what LangGraph alone does
# with it: `poisons` means that the right answer fails after it too, `takes` that something was done.
BAD: list[tuple[str, str, Any, str, str]] = [
    ("batched", "wrong count", decisions(YES), "decisions", "poisons"),
    ("batched", "too many", decisions(*[YES] * 4), "decisions", "poisons"),
    ("batched", "none", decisions(), "decisions", "poisons"),
    ("batched", "wrong order", decisions(YES, edit("pay", order="A1", amount=1), YES), "decisions/1", "poisons"),
    (
        "batched",
        "another's place",
        decisions(YES, YES, edit("pay", order="A1", amount=1)),
        "decisions/2/edited_action/name",
        "takes",
    ),
    ("batched", "not allowed", decisions(YES, {"type": "respond", "message": "x"}, YES), "decisions/1", "poisons"),
    ("batched", "no such verdict", decisions({"type": "accept"}, YES, YES), "decisions/0", "poisons"),
    ("batched", "wrong type", decisions("approve", YES, YES), "decisions/0", "poisons"),
    ("batched", "a bare list", [YES, YES, YES], "", "poisons"),
    ("batched", "a text", "approve", "", "poisons"),
    ("batched", "no action", decisions({"type": "edit"}, YES, YES), "decisions/0/edited_action", "poisons"),
    ("batched", "no type", decisions({}, YES, YES), "decisions/0", "poisons"),
    ("batched", "no message", decisions(YES, YES, {"type": "respond"}), "decisions/2/message", "poisons"),
    ("batched", "extra field", decisions({**YES, "x": 1}, YES, YES), "decisions/0/x", "takes"),
    ("batched", "extra beside", {**decisions(YES, YES, YES), "also": 1}, "also", "takes"),
    (
        "batched",
        "renamed",
        decisions(edit("wipe", path="/"), YES, YES),
        "decisions/0/edited_action/name",
        "takes",
    ),
    (
        "batched",
        "argument of a wrong type",
        decisions(edit("pay", order="A1", amount="lots"), YES, YES),
        "decisions/0/edited_action/args/amount",
        "takes",
    ),
    (
        "batched",
        "argument missing",
        decisions(edit("pay", order="A1"), YES, YES),
        "decisions/0/edited_action/args/amount",
        "takes",
    ),
    (
        "batched",
        "argument too many",
        decisions(edit("pay", order="A1", amount=1, to="me"), YES, YES),
        "decisions/0/edited_action/args/to",
        "takes",
    ),
    (
        "batched",
        "argument not of the choice",
        decisions(edit("pay", order="A1", amount=1, currency="XXX"), YES, YES),
        "decisions/0/edited_action/args/currency",
        "takes",
    ),
    ("batched", "empty", {}, "decisions", "poisons"),
    ("batched", "null", None, "", "poisons"),
    ("batched", "false", False, "", "poisons"),
    ("batched", "zero", 0, "", "poisons"),
    ("batched", "huge", decisions(YES, {"type": "reject", "message": "x" * 1_000_001}, YES), "", "takes"),
    (
        "camel",
        "other spelling",
        decisions(edit("pay", amount=1), {"type": "reject"}),
        "decisions/0/edited_action",
        "takes",
    ),
    ("camel", "not allowed", decisions({"type": "reject"}, YES), "decisions/0", "takes"),
    ("camel", "wrong count", decisions(YES), "decisions", "takes"),
    ("camel", "renamed", decisions(camel_edit("wipe"), YES), "decisions/0/editedAction/name", "takes"),
    ("camel", "null", None, "", "takes"),
    ("per call", "wrapped", decisions(YES), "", "refuses"),
    ("per call", "not allowed", {"type": "respond", "message": "x"}, "", "refuses"),
    ("per call", "no such verdict", {"type": "accept"}, "", "refuses"),
    ("per call", "a list", [YES], "", "refuses"),
    ("per call", "a text", "approve", "", "refuses"),
    ("per call", "no action", {"type": "edit"}, "edited_action", "refuses"),
    ("per call", "extra field", {**YES, "x": 1}, "x", "takes"),
    ("per call", "renamed", edit("wipe", path="/"), "edited_action/name", "refuses"),
    (
        "per call",
        "argument of a wrong type",
        edit("pay", order="A1", amount="lots"),
        "edited_action/args/amount",
        "refuses",
    ),
    ("per call", "argument too many", edit("pay", order="A1", amount=1, to="me"), "edited_action/args/to", "takes"),
    ("per call", "empty", {}, "", "refuses"),
    ("per call", "null", None, "", "refuses"),
    ("per call", "false", False, "", "refuses"),
    ("legacy", "wrong count", [], "", "poisons"),
    ("legacy", "too many", [TAKEN, TAKEN], "", "takes"),
    ("legacy", "not a list", TAKEN, "", "poisons"),
    ("legacy", "a text", "accept", "", "poisons"),
    ("legacy", "not allowed", [{"type": "response", "args": "x"}], "0", "takes"),
    ("legacy", "no such word", [{"type": "approve", "args": None}], "0", "poisons"),
    ("legacy", "wrong type", [{"type": "accept", "args": {"amount": 9}}], "0/args", "takes"),
    ("legacy", "no type", [{"args": None}], "0", "poisons"),
    ("legacy", "no arguments", [{"type": "accept"}], "0/args", "poisons"),
    ("legacy", "half an edit", [{"type": "edit", "args": {"action": "pay"}}], "0/args/args", "poisons"),
    ("legacy", "extra field", [{**TAKEN, "x": 1}], "0/x", "takes"),
    ("legacy", "renamed", [change("wipe", path="/")], "0/args/action", "takes"),
    ("legacy", "empty", {}, "", "poisons"),
    ("legacy", "null", None, "", "poisons"),
    ("legacy", "false", False, "", "poisons"),
    ("legacy", "huge", [{"type": "x" * 1_000_001, "args": None}], "", "poisons"),
    ("legacy text", "wrong count", [TAKEN], "", "takes"),
    ("legacy text", "wrong order", [TAKEN, change("wipe")], "1/args/action", "takes"),
    ("legacy text", "text", json.dumps([TAKEN, TAKEN]), "", "takes"),
    ("schema", "missing field", {"customer": "M", "kind": "new"}, "items", "refuses"),
    ("schema", "wrong type", {**ORDER, "customer": 7}, "customer", "refuses"),
    ("schema", "no choice of it", {**ORDER, "kind": "old"}, "kind", "refuses"),
    ("schema", "too short", {**ORDER, "customer": ""}, "customer", "refuses"),
    ("schema", "too many", {**ORDER, "items": ORDER["items"] * 6}, "items", "refuses"),
    ("schema", "wrong inside", {**ORDER, "items": [{"name": "x", "price": 0}]}, "items/0/price", "refuses"),
    ("schema", "a list", [ORDER], "", "refuses"),
    ("schema", "a text", "new", "", "refuses"),
    ("schema", "empty", {}, "customer", "refuses"),
    ("schema", "null", None, "", "refuses"),
    ("schema", "false", False, "", "refuses"),
    ("schema", "huge", {**ORDER, "note": "x" * 1_000_001}, "", "takes"),
    ("plain", "huge", "x" * 1_000_001, "", "takes"),
]


def _named(cases: list[Any]) -> list[Any]:
    return [pytest.param(*case, id=f"{case[0]}: {case[1]}") for case in cases]


# What is no answer to the question at all: the ballot, the status and the code.
WRONG: list[tuple[str, dict[str, Any], tuple[int, str]]] = [
    ("batched", {"verdict": "respond"}, (422, "invalid_answer")),
    ("batched", {"verdict": "skip"}, (403, "denied")),
    ("batched", {"verdict": "reject"}, (422, "invalid_answer")),  # no reason
    ("batched", {"verdict": "approve", "answer": RIGHT["batched"]}, (422, "invalid_answer")),
    ("batched", {"verdict": "reject", "comment": "No.", "answer": RIGHT["batched"]}, (422, "invalid_answer")),
    ("batched", {"verdict": "edit", "answer": RIGHT["batched"]}, (422, "invalid")),
    ("batched", {"verdict": "approve", "edits": {"messages": {"op": "set", "value": []}}}, (422, "invalid_edit")),
    ("batched", {"verdict": "approve", "edits": {"nothing": {"op": "set", "value": 1}}}, (422, "invalid_edit")),
    ("camel", {"verdict": "reject", "comment": "No."}, (422, "invalid_answer")),
    ("per call", {"verdict": "respond"}, (422, "invalid_answer")),
    ("legacy", {"verdict": "respond"}, (422, "invalid_answer")),
    ("schema", {"verdict": "approve"}, (422, "invalid_answer")),
    ("schema", {"verdict": "reject", "comment": "No."}, (422, "invalid_answer")),
    ("plain", {"verdict": "respond"}, (422, "invalid_answer")),
    ("plain", {"verdict": "approve"}, (422, "invalid_answer")),
    ("plain", {"verdict": "respond", "answer": 1, "as_node": "ask"}, (422, "invalid_edit")),
    (
        "plain",
        {"verdict": "respond", "answer": 1, "edits": {"amount": {"op": "append", "value": 1}}},
        (422, "invalid_edit"),
    ),
    ("breakpoint", {"verdict": "respond", "answer": 1}, (422, "invalid_answer")),
    ("breakpoint", {"verdict": "approve", "answer": 1}, (422, "invalid_answer")),
    *((name, {"verdict": "respond", "answer": RIGHT[name], "seen_digest": "0" * 64}, (409, "stale")) for name in RIGHT),
]

# What the answers of RIGHT come to: what the node was given or the tools did.
OUTCOMES: dict[str, Any] = {
    **RIGHT,
    "batched": [("pay", 7.0), ("send_mail", None)],
    "per call": [("pay", 7.0)],
    "legacy": ["edit", {"amount": 3}],
    "schema": {**ORDER, "note": None},
}
NESTED = {"limit": [1, {"a": None}, "", {}, [], "approve", 2**53 - 1, 0.1]}

SAME_AS_OTHERS = {("batched", "reject"), ("per call", "approve"), ("legacy", "approve")}

# What fits besides: the ballot, and what it comes to.
GOOD: list[tuple[str, str, dict[str, Any], Any]] = [
    ("batched", "approve", {"verdict": "approve"}, [("pay", 20.5), ("wipe", None), ("send_mail", None)]),
    ("batched", "reject", {"verdict": "reject", "comment": "No."}, []),
    (
        "batched",
        "answered for the tool",
        {"verdict": "respond", "answer": decisions(YES, {"type": "reject"}, {"type": "respond", "message": "Sent."})},
        [("pay", 20.5)],
    ),
    ("per call", "approve", {"verdict": "approve"}, [("pay", 20.5)]),
    ("per call", "reject", {"verdict": "reject", "comment": "No."}, []),
    ("camel", "approve", {"verdict": "approve"}, decisions(YES, YES)),
    ("legacy", "approve", {"verdict": "approve"}, ["accept", None]),
    ("legacy", "reject", {"verdict": "reject", "comment": "No."}, ["ignore", None]),
    ("legacy text", "approve", {"verdict": "approve"}, [TAKEN, TAKEN]),
    ("talk", "response", {"verdict": "respond", "answer": [{"type": "response", "args": "42"}]}, ["response", "42"]),
    *(
        ("plain", f"{json.dumps(value)[:20]}", {"verdict": "respond", "answer": value}, value)
        for value in (None, False, 0, NESTED, "x" * 900_000, "", {}, [], "approve", 2**53 - 1, 0.1)
    ),
]
PLAIN = {"plain: null", "plain: false", 'plain: {"limit": [1, {"a": ', f'plain: "{"x" * 19}'}
GOOD = [
    case
    for case in GOOD
    if IS_FULL or (f"{case[0]}: {case[1]}" in PLAIN if case[0] == "plain" else case[:2] not in SAME_AS_OTHERS)
]
"""By default each dialect and each verdict, but not each pair of them."""
MORE = {**ASKED, "talk": ("d_legacy", {"ask": TALK})}


def start_all(console: Console, names: list[str]) -> list[dict[str, Any]]:
    """Pause a thread for each, all at the same time."""
    threads = [console.start_run(*MORE[name]) for name in names]
    return [console.pending(thread_id) for thread_id in threads]


@pytest.fixture(scope="module")
def asked(console: Console) -> dict[str, dict[str, Any]]:
    """One approval for each dialect, for everything that is refused."""
    return dict(zip(ASKED, start_all(console, list(ASKED)), strict=True))


@pytest.fixture(scope="module")
def answered(console: Console) -> list[tuple[dict[str, Any], int]]:
    """The approvals of GOOD, each of which was voted on, and the status of that."""
    paused = start_all(console, [dialect for dialect, *_ in GOOD])
    return [
        (approval, vote(console, "alice", approval, **ballot).status_code)
        for approval, (_, _, ballot, _) in zip(paused, GOOD, strict=True)
    ]


def stored(approval: dict[str, Any]) -> Any:
    """Return what is stored of an approval and of its thread."""
    from approvals import checkpoints
    from approvals.models import Approval, Run, Vote

    rows = [Run.objects.filter(thread_id=approval["thread_id"]), Vote.objects.filter(approval_id=approval["id"])]
    of_thread = checkpoints.read_head(approval["thread_id"])
    return Approval.objects.values().get(pk=approval["id"]), [list(each.values()) for each in rows], of_thread


@pytest.fixture(scope="module")
def assert_untouched(asked: dict[str, dict[str, Any]]) -> Callable[[str], None]:
    """Return what asserts that nothing was stored of a refusal; what the API says of it is compared in the end."""
    before = {dialect: stored(approval) for dialect, approval in asked.items()}

    def check(dialect: str) -> None:
        assert stored(asked[dialect]) == before[dialect]

    return check


def channels_written(thread_id: str) -> set[str]:
    """Return the channels of what is stored beside the thread's checkpoints."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT channel FROM checkpoint_writes WHERE thread_id = %s", [thread_id])
        return {row[0] for row in cursor.fetchall()}


@pytest.mark.parametrize(("dialect", "what", "answer", "path", "bare"), _named(share(BAD, 0, of=4)))
def test_an_answer_that_does_not_fit_is_refused_and_says_where(
    console: Console,
    asked: dict[str, Any],
    assert_untouched: Callable[[str], None],
    dialect: str,
    what: str,
    answer: Any,
    path: str,
    bare: str,
) -> None:
    refused = vote(console, "alice", asked[dialect], "respond", answer=answer)
    assert code_of(refused) == (422, "invalid_answer"), refused.text[:500]
    faults = refused.json()["error"]["detail"]["faults"]
    assert path in {fault["path"] for fault in faults}
    assert all(fault["message"].endswith(".") for fault in faults)
    assert len(refused.text) < 5_000, "it does not repeat the answer"
    assert_untouched(dialect)


@pytest.mark.parametrize(("dialect", "ballot", "expected"), WRONG)
def test_a_ballot_that_is_no_answer_here_is_refused(
    console: Console,
    asked: dict[str, Any],
    assert_untouched: Callable[[str], None],
    dialect: str,
    ballot: dict[str, Any],
    expected: tuple[int, str],
) -> None:
    refused = vote(console, "alice", asked[dialect], **ballot)
    assert code_of(refused) == expected, refused.text[:500]
    assert_untouched(dialect)


UNKEPT = ['"a\\u0000b"', '"\\ud800"', "NaN", "1e999", str(2**64), "[" * 300 + "]" * 300, "{", ""]
COMMANDS = ['{"__overwrite__": [1]}', '{"a": [{"lc": 1}]}']


@pytest.mark.parametrize("text", [*UNKEPT, *COMMANDS])
def test_what_cannot_be_kept_or_would_be_an_instruction_is_refused(
    console: Console, asked: dict[str, Any], assert_untouched: Callable[[str], None], text: str
) -> None:
    approval = asked["plain"]
    ballot = f'{{"verdict": "respond", "seen_digest": "{approval["digest"]}", "answer": {text}}}'
    with console.api("alice") as alice:
        refused = alice.post(
            f"/approvals/{approval['id']}/votes", content=ballot, headers={"Content-Type": "application/json"}
        )
    assert refused.status_code in (400, 422), refused.text[:500]
    assert_untouched("plain")


@pytest.mark.parametrize("dialect", RIGHT)
def test_after_all_that_the_right_answer_is_taken_and_does_what_it_says(
    console: Console, asked: dict[str, Any], data_dir: Path, dialect: str
) -> None:
    approval = asked[dialect]
    assert read(console, approval) == approval
    assert "__resume__" not in channels_written(approval["thread_id"])
    vote(console, "alice", approval, "respond", answer=RIGHT[dialect]).raise_for_status()
    assert console.run_of(approval["id"])["status"] == "finished"
    assert_came(console, approval, dialect, OUTCOMES[dialect], data_dir)
    assert code_of(vote(console, "bob", approval, "respond", answer=RIGHT[dialect])) == (409, "already_decided")
    told = read(console, approval)
    assert told["decision"]["answer"] == RIGHT[dialect]
    assert told["decision"]["deviations"] == []


@pytest.mark.parametrize("place", range(len(GOOD)), ids=[f"{dialect}: {what}" for dialect, what, *_ in GOOD])
def test_an_answer_that_fits_does_what_it_says(
    console: Console, answered: list[Any], data_dir: Path, place: int
) -> None:
    dialect, _, _, expected = GOOD[place]
    approval, status = answered[place]
    assert status == 201
    assert console.run_of(approval["id"])["status"] == "finished"
    assert_came(console, approval, dialect, expected, data_dir)
    assert read(console, approval)["decision"]["deviations"] == []


def assert_came(console: Console, approval: dict[str, Any], dialect: str, expected: Any, data_dir: Path) -> None:
    """The node was given this, or the tools did it."""
    thread_id = approval["thread_id"]
    if dialect in ("batched", "per call"):
        assert [(each["name"], each["args"].get("amount")) for each in did(thread_id, data_dir)] == expected
    else:
        with console.api("erin") as erin:
            [got] = erin.get(f"/threads/{thread_id}/state").json()["values"]["got"]
        wanted = json.dumps(expected, sort_keys=True)
        if isinstance(got, dict) and got.get("__type__") == "excerpt":  # too long for a page
            assert got["sha256"] == hashlib.sha256(wanted.encode()).hexdigest()
        else:
            assert json.dumps(got, sort_keys=True) == wanted, "false is not 0"


# The control: LangGraph alone.

BARE = {
    "d_batched": dialects.batched,
    "d_per_call": dialects.per_call,
    "d_asks": dialects.asks,
    "d_legacy": dialects.legacy,
    "d_schema": dialects.schema,
}


class Bare:
    """A thread of LangGraph's own."""

    def __init__(self, graph: Any) -> None:
        self.graph = with_saver(graph, InMemorySaver())
        self.thread_id = f"t-{uuid.uuid4()}"

    async def give(self, answer: Any) -> str:
        """Answer the question that waits; return the name of the error, if there is one."""
        [waiting, *_] = (await self.graph.aget_state(config_for(self.thread_id))).interrupts
        try:
            await self.graph.ainvoke(Command(resume={waiting.id: answer}), config_for(self.thread_id))
        except Exception as error:  # noqa: BLE001 - any will do
            return type(error).__name__
        return ""

    async def became(self, bad: Any, right: Any) -> str:
        if not await self.give(bad):
            return "takes"
        return "poisons" if await self.give(right) else "refuses"


@pytest.fixture
def some_data_dir(data_dir: Path) -> Iterator[None]:
    """The tools of the graphs write here; they run in this process."""
    assert os.environ["DATA_DIR"] == str(data_dir)
    yield


@pytest.mark.parametrize(("dialect", "what", "answer", "path", "bare"), _named(share(BAD, 0, of=6)))
async def test_langgraph_alone_takes_it_or_is_poisoned_by_it(
    some_data_dir: None, dialect: str, what: str, answer: Any, path: str, bare: str
) -> None:
    graph_id, input = ASKED[dialect]
    thread = Bare(BARE[graph_id])
    await thread.graph.ainvoke(input, config_for(thread.thread_id))
    assert await thread.became(answer, RIGHT[dialect]) == bare
