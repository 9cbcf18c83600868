"""What is wrong is refused with a clear error in one shape: no 500, nothing stored, nothing of it repeated."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tests.console import Console, refund
from tests.scale import crossed, share

CANARY = "hunter2-canary"
MEGABYTE = 1024 * 1024


@pytest.fixture(scope="module")
def approval(console: Console) -> dict[str, Any]:
    return console.pause("refund", refund(640))


@pytest.fixture(scope="module")
def alice(console: Console) -> Iterator[httpx.Client]:
    with console.api("alice") as client:
        yield client


@pytest.fixture(scope="module")
def olga(console: Console) -> Iterator[httpx.Client]:
    with console.api("olga") as client:
        yield client


def refusal(response: httpx.Response) -> dict[str, Any]:
    """The error, after a look at its shape: ours, of a client's making, and without what was sent."""
    assert 400 <= response.status_code < 500, (response.status_code, response.text[:500])
    assert CANARY not in response.text
    body = response.json()
    assert body.keys() == {"error"} and body["error"].keys() == {"code", "message", "detail"}
    assert body["error"]["message"] and len(response.text) < 100_000
    return dict(body["error"])


def paths(error: dict[str, Any]) -> set[str]:
    return {fault["path"] for fault in error["detail"].get("faults", [])}


def nested(levels: int) -> Any:
    value: Any = CANARY
    for _ in range(levels):
        value = [value]
    return value


def sent_to(cases: list[Any]) -> list[Any]:
    """Return each case with one of the addresses that check the same, which take turns. FULL=1: with both."""
    pairs = crossed(cases, ["preview", "votes"])
    return [pytest.param(*case.values, to, id=f"{to}-{case.id}") for case, to in pairs]


EDITS: list[Any] = [
    pytest.param({"no_such_channel": {"op": "set", "value": CANARY}}, {"no_such_channel"}, id="unknown channel"),
    pytest.param({"amount": {"op": "set", "value": CANARY}}, {"amount/value"}, id="wrong type"),
    pytest.param({"amount": {"op": "set", "value": None}}, {"amount/value"}, id="null for a number"),
    pytest.param({"amount": {"op": "append", "value": 1}}, {"amount/op"}, id="append to a plain channel"),
    pytest.param({"risk_notes": {"op": "set", "value": []}}, {"risk_notes/op"}, id="set on a merging channel"),
    pytest.param({"amount": {"op": "multiply", "value": 1}}, {"amount"}, id="unknown op"),
    pytest.param({"amount": {"op": "set"}}, {"amount"}, id="no value"),
    pytest.param({"amount": 80}, {"amount"}, id="no op"),
    pytest.param(
        {"amount": {"op": "set", "value": CANARY}, "currency": {"op": "set", "value": CANARY}},
        {"amount/value", "currency/value"},
        id="two faults",
    ),
    pytest.param([{"amount": 80}], {""}, id="a list"),
    pytest.param(CANARY, {""}, id="a text"),
    pytest.param(
        {"reason": {"op": "set", "value": {"__interrupt__": CANARY}}},
        {"reason/value/__interrupt__"},
        id="__interrupt__",
    ),
    pytest.param(
        {"reason": {"op": "set", "value": {"__overwrite__": CANARY}}},
        {"reason/value/__overwrite__"},
        id="__overwrite__",
    ),
    pytest.param({"reason": {"op": "set", "value": {"lc": 1, "id": ["os"]}}}, {"reason/value/lc"}, id="lc"),
    pytest.param({"__interrupt__": {"op": "set", "value": 1}}, {"__interrupt__"}, id="sentinel as a channel"),
    pytest.param({"reason": {"op": "set", "value": f"{CANARY}\x00"}}, {"reason/value"}, id="NUL"),
    pytest.param({"reason": {"op": "set", "value": f"{CANARY}\ud800"}}, {"reason/value"}, id="lone surrogate"),
    pytest.param({"amount": {"op": "set", "value": 10**400}}, {"amount/value"}, id="10^400"),
    pytest.param({"reason": {"op": "set", "value": nested(150)}}, None, id="150 levels"),
    pytest.param({"x" * 10_000: {"op": "set", "value": 1}}, {"x" * 200}, id="channel of 10 kB"),
    pytest.param({f"c{n}": {"op": "set", "value": 1} for n in range(5_000)}, None, id="5,000 unknown channels"),
]


@pytest.mark.parametrize(("edits", "expected", "to"), sent_to(EDITS))
def test_a_bad_edit_is_refused_with_the_path_of_each_fault(
    alice: httpx.Client, approval: dict[str, Any], edits: Any, expected: set[str] | None, to: str
) -> None:
    body = {"edits": edits}
    if to == "votes":
        body |= {"verdict": "approve", "seen_digest": approval["digest"]}
    response = alice.post(f"/approvals/{approval['id']}/{to}", content=json.dumps(body))
    error = refusal(response)
    assert (response.status_code, error["code"]) == (422, "invalid_edit")
    assert expected is None or paths(error) == expected
    assert error["detail"]["faults"]


BALLOTS: list[Any] = [
    pytest.param({"verdict": 1}, {"verdict"}, id="verdict is a number"),
    pytest.param({"verdict": CANARY}, {"verdict"}, id="unknown verdict"),
    pytest.param({"verdict": None}, {"verdict"}, id="no verdict"),
    pytest.param({"seen_digest": None}, {"seen_digest"}, id="no digest"),
    pytest.param({"seen_digest": 7}, {"seen_digest"}, id="digest is a number"),
    pytest.param({"seen_digest": CANARY * 100}, {"seen_digest"}, id="long digest"),
    pytest.param({"edit": {"amount": {"op": "set", "value": 1}}}, {"edit"}, id="misspelt edits"),
    pytest.param({"comment": 5}, {"comment"}, id="comment is a number"),
    pytest.param({"comment": f"{CANARY}\x00"}, {"comment"}, id="NUL in the comment"),
    pytest.param({"comment": f"{CANARY}\ud800"}, {"comment"}, id="lone surrogate in the comment"),
    pytest.param({"comment": "x" * 6_000}, set(), id="long comment"),
    pytest.param({"idempotency_key": ""}, set(), id="empty key"),
    pytest.param({"idempotency_key": "k" * 10_000}, set(), id="key of 10 kB"),
    pytest.param({"idempotency_key": "k\x00"}, {"idempotency_key"}, id="NUL in the key"),
    pytest.param({"idempotency_key": ["k"]}, {"idempotency_key"}, id="key is a list"),
    pytest.param({"seen_preview": "p" * 65}, {"seen_preview"}, id="long preview digest"),
    pytest.param({"as_node": "no_such_node"}, {"as_node"}, id="unknown node"),
    pytest.param({"as_node": "senior_desk"}, {"as_node"}, id="edit as the gated node"),
    pytest.param({"as_node": "\x00"}, {"as_node"}, id="NUL as node"),
    pytest.param({"answer": "yes"}, set(), id="answer at a breakpoint"),
    pytest.param({"answer": nested(150), "idempotency_key": "deep"}, {"answer"}, id="deep answer"),
    pytest.param({"answer": {"__interrupt__": 1}}, {"answer"}, id="sentinel in an answer"),
    pytest.param({"verdict": "respond"}, set(), id="respond at a breakpoint"),
]


@pytest.mark.parametrize(("change", "expected"), BALLOTS)
def test_a_bad_ballot_is_refused(
    alice: httpx.Client, approval: dict[str, Any], change: dict[str, Any], expected: set[str]
) -> None:
    body = {"verdict": "approve", "seen_digest": approval["digest"], **change}
    response = alice.post(f"/approvals/{approval['id']}/votes", content=json.dumps(body))
    assert response.status_code == 422
    assert paths(refusal(response)) == expected


RAW: list[Any] = [
    pytest.param(b'{"verdict": "approve"', 400, "broken_json", id="cut off"),
    pytest.param(b"verdict=approve", 400, "broken_json", id="a form"),
    pytest.param(b'{"verdict": "\xff\xfe"}', 400, "broken_json", id="not UTF-8"),
    pytest.param(
        b'{"verdict": "approve", "edits": {"amount": {"op": "set", "value": NaN}}}', 400, "broken_json", id="NaN"
    ),
    pytest.param(b'{"edits": -Infinity}', 400, "broken_json", id="Infinity"),
    pytest.param(b'{"edits": ' + b"9" * 5_000 + b"}", 400, "broken_json", id="number of 5,000 digits"),
    pytest.param(b"[" * 100_000, 400, "broken_json", id="100,000 brackets"),
    pytest.param(b"[" * 500 + b"]" * 500, 400, "broken_json", id="500 levels"),
    pytest.param(b'{"verdict": "reject", "verdict": "approve"}', 422, "invalid", id="a key twice"),
    pytest.param(b'{"edits": {"amount": {"op": "set", "value": 1, "value": 2}}}', 422, "invalid", id="twice, inside"),
    pytest.param(b'{"verdict": "reject", "\\u0076erdict": "approve"}', 422, "invalid", id="twice, once escaped"),
    pytest.param(b"[]", 422, "invalid", id="a list"),
    pytest.param(b'"hunter2-canary"', 422, "invalid", id="a text"),
    pytest.param(b"null", 422, "invalid", id="null"),
    pytest.param(b"", 422, "invalid", id="nothing"),
    pytest.param(b'{"comment": "' + b"x" * 5 * MEGABYTE + b'"}', 413, "too_large", id="5 MB"),
]


@pytest.mark.parametrize(("content", "status", "code", "to"), sent_to(RAW))
def test_a_body_that_cannot_be_read_is_refused(
    alice: httpx.Client, approval: dict[str, Any], content: bytes, status: int, code: str, to: str
) -> None:
    response = alice.post(f"/approvals/{approval['id']}/{to}", content=content)
    assert (response.status_code, refusal(response)["code"]) == (status, code)


@pytest.mark.parametrize("to", ["/threads", "/threads/search", "/votes", "/threads/t/runs", "/threads/t/fork"])
def test_a_key_that_is_given_twice_is_named_wherever_a_body_is_read(olga: httpx.Client, to: str) -> None:
    error = refusal(olga.post(to, content=b'{"metadata": [{"color": 1, "color": 2}]}'))
    assert (error["code"], error["message"]) == ("invalid", 'The key "color" is given twice. Send it once.')
    assert paths(error) == {"color"}


def test_5_mb_without_a_length_are_refused_too(alice: httpx.Client, approval: dict[str, Any]) -> None:
    response = alice.post(f"/approvals/{approval['id']}/votes", content=(b" " * MEGABYTE for _ in range(5)))
    assert (response.status_code, refusal(response)["code"]) == (413, "too_large")


def test_a_number_that_overflows_is_not_taken_for_infinity(alice: httpx.Client, approval: dict[str, Any]) -> None:
    content = b'{"edits": {"amount": {"op": "set", "value": 1e999}}}'
    response = alice.post(f"/approvals/{approval['id']}/preview", content=content)
    assert paths(refusal(response)) == {"amount/value"}


IDS: list[Any] = [
    pytest.param("no-such-thread", id="unknown"),
    pytest.param("%00", id="NUL"),
    pytest.param("a%00b", id="NUL inside"),
    pytest.param("x" * 10_000, id="10 kB"),
    pytest.param("..%2F..%2Fetc%2Fpasswd", id="traversal"),
    pytest.param("*%3F%5B%5D", id="wildcards"),
    pytest.param("%D9%A1%D9%A2", id="Arabic digits"),
    pytest.param("%FF%FE", id="not UTF-8"),
    pytest.param("a%0Ab", id="line break"),
    pytest.param("%ED%A0%80", id="surrogate"),
    pytest.param("%E2%80%AEtxt", id="right-to-left override"),
    pytest.param("'%20OR%201=1--", id="SQL"),
]
ADDRESSES = [
    ("GET", "/threads/{}"),
    ("GET", "/threads/{}/state"),
    ("GET", "/threads/{}/state/1f0"),
    ("POST", "/threads/{}/history"),
    ("GET", "/threads/{}/runs"),
    ("GET", f"/threads/{{}}/runs/{UUID(int=7)}"),
    ("GET", "/approvals/{}"),
    ("POST", "/approvals/{}/preview"),
    ("GET", "/approvals?thread_id={}&cursor=x"),
]

ODD = [
    pytest.param(*address, *id.values, id=f"{'-'.join(address)}-{id.id}")
    for place, address in enumerate(ADDRESSES)
    for id in share(IDS, place, of=3)
]
"""By default each id at three of the addresses, and each address with four of the ids."""


@pytest.mark.parametrize(("method", "address", "id"), ODD)
def test_an_odd_id_finds_nothing(alice: httpx.Client, method: str, address: str, id: str) -> None:
    response = alice.request(method, address.format(id), content=b"{}" if method == "POST" else None)
    assert response.status_code in (404, 422)
    refusal(response)


@pytest.mark.parametrize("id", IDS[1:])
def test_an_odd_id_starts_and_removes_nothing(console: Console, olga: httpx.Client, id: str) -> None:
    body = {"assistant_id": "refund", "input": refund()}
    refusal(olga.post(f"/threads/{id}/runs", json=body))
    with console.api("root") as root:
        refusal(root.request("DELETE", f"/threads/{id}", json={"reason": "x"}))


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=101", "limit=many", f"limit={10**30}", "limit=-1", "status=nope", "status=pending%00",
        "q=%00", "q=" + "x" * 201, "graph=%00", "thread_id=a%00", "cursor=%00", "cursor=bm90LWpzb24", "cursor=!!!!",
        "cursor=" + "W" * 201, "cursor=W10", "cursor=WzFd", "cursor=%C3%A9", "cursor=eyJhIjoxfQ", "cursor=WyJ4IiwieSJd",
    ],
)  # fmt: skip
def test_a_bad_filter_of_the_queue_is_refused(alice: httpx.Client, query: str) -> None:
    error = refusal(alice.get(f"/approvals?{query}"))
    assert paths(error) == {query.partition("=")[0]}


@pytest.mark.parametrize(
    "query",
    [
        "since=yesterday", "until=%00", "since=0001-01-01T00:00:00%2B23:59", "since=99999999999999999999", "actor=%00",
        "thread_id=%00", "action=%00", "limit=1001", "cursor=WzBd", "cursor=Wy0xXQ", "cursor=W3RydWVd",
        "cursor=WyIxIl0",
    ],
)  # fmt: skip
def test_a_bad_filter_of_the_log_is_refused(console: Console, query: str) -> None:
    with console.api("erin") as erin:
        error = refusal(erin.get(f"/audit?{query}"))
    assert paths(error) == {query.partition("=")[0]}


def test_empty_filters_are_no_filters(alice: httpx.Client) -> None:
    query = "status=&graph=&thread_id=&assignee=&q=&cursor=&unknown=1"
    assert alice.get(f"/approvals?{query}").json()["count"] == alice.get("/approvals").json()["count"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"thread_id": 5}, {"thread_id"}),
        ({"thread_id": "a/b"}, set()),
        ({"thread_id": "x" * 300}, {"thread_id"}),
        ({"thread_id": "a\x00"}, {"thread_id"}),
        ({"metadata": []}, {"metadata"}),
        ({"metadata": {"a": "\x00"}}, {"metadata"}),
        ({"metadata": {"a": "\ud800"}}, {"metadata"}),
        ({"metadata": {"\x00": 1}}, {"metadata"}),
        ({"metadata": {"a": 10**400}}, {"metadata"}),
        ({"metadata": {"a": 1e308 * 10}}, None),
        ({"metadata": {"a": nested(150)}}, {"metadata"}),
        ({"if_exists": "maybe"}, {"if_exists"}),
        ({"steps": []}, {"steps"}),
    ],
)
def test_a_bad_thread_is_not_made(olga: httpx.Client, body: dict[str, Any], expected: set[str] | None) -> None:
    before = count_threads()
    error = refusal(olga.post("/threads", content=json.dumps(body)))
    assert expected is None or paths(error) == expected
    assert count_threads() == before


@pytest.mark.parametrize(
    ("body", "status", "expected"),
    [
        ({"input": refund()}, 422, {"assistant_id"}),
        ({"assistant_id": "no-such-graph", "input": refund()}, 404, set()),
        ({"assistant_id": "\x00", "input": refund()}, 422, {"assistant_id"}),
        ({"assistant_id": "refund"}, 422, set()),
        ({"assistant_id": "refund", "input": []}, 422, set()),
        ({"assistant_id": "refund", "input": {**refund(), "amount": CANARY}}, 422, {"input/amount"}),
        ({"assistant_id": "refund", "input": {**refund(), "limit": 1e9}}, 422, {"input/limit"}),
        ({"assistant_id": "refund", "input": {**refund(), "reason": "\x00"}}, 422, {"input/reason"}),
        ({"assistant_id": "refund", "input": {**refund(), "__interrupt__": 1}}, 422, {"input/__interrupt__"}),
        ({"assistant_id": "refund", "input": refund(), "command": {"resume": 1}}, 422, {"input"}),
        ({"assistant_id": "refund", "input": refund(), "interrupt_before": ["pay"]}, 422, {"interrupt_before"}),
        ({"assistant_id": "refund", "input": refund(), "interrupt_after": "all"}, 422, {"interrupt_after"}),
        ({"assistant_id": "refund", "input": refund(), "checkpoint_id": "1"}, 409, set()),
        ({"assistant_id": "refund", "input": refund(), "multitask_strategy": "drop"}, 422, {"multitask_strategy"}),
        ({"assistant_id": "refund", "input": refund(), "metadata": {"a": "\x00"}}, 422, {"metadata"}),
        ({"assistant_id": "refund", "input": refund(), "metadata": {"a": "x" * 20_000}}, 422, set()),
    ],
)
def test_a_bad_run_is_not_started(olga: httpx.Client, body: dict[str, Any], status: int, expected: set[str]) -> None:
    thread_id = olga.post("/threads", json={}).json()["thread_id"]
    response = olga.post(f"/threads/{thread_id}/runs", content=json.dumps(body))
    assert (response.status_code, paths(refusal(response))) == (status, expected)
    assert olga.get(f"/threads/{thread_id}/runs").json() == []
    assert olga.get(f"/threads/{thread_id}").json()["status"] == "idle"


@pytest.mark.parametrize(
    "body",
    [
        {"limit": 101}, {"limit": 0}, {"offset": -1}, {"offset": 10_001}, {"status": "nope"},
        {"metadata": {"a": "\x00"}},
        {"ids": ["\x00"]}, {"ids": "t"}, {"sort_by": "password"}, {"values": {"a": "\x00"}}, {"limit": 10**400},
    ],
)  # fmt: skip
def test_a_bad_search_is_refused(olga: httpx.Client, body: dict[str, Any]) -> None:
    error = refusal(olga.post("/threads/search", content=json.dumps(body)))
    assert {path.partition("/")[0] for path in paths(error)} == body.keys()


def test_what_belongs_to_another_thread_is_not_found(console: Console, alice: httpx.Client) -> None:
    mine, other = console.pause("gated", {"text": "mine"}), console.pause("gated", {"text": "other"})
    [run] = alice.get(f"/threads/{other['thread_id']}/runs").json()
    for address in (f"runs/{run['run_id']}", f"state/{other['checkpoint_id']}"):
        assert alice.get(f"/threads/{other['thread_id']}/{address}").status_code == 200
        response = alice.get(f"/threads/{mine['thread_id']}/{address}")
        assert (response.status_code, refusal(response)["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "address", "status", "code"),
    [
        ("GET", "/nothing/here", 404, "not_found"),
        ("GET", "/", 404, "not_found"),
        ("GET", "/threads/", 404, "not_found"),
        ("GET", "/nothing%0Ahere", 404, "not_found"),
        ("PUT", "/threads", 405, "method_not_allowed"),
        ("PATCH", "/approvals", 405, "method_not_allowed"),
        ("GET", "/approvals/not-a-uuid", 422, "invalid"),
        ("GET", "/approvals?" + "&".join(f"a{n}=1" for n in range(2_001)), 400, "bad_request"),
    ],
)
def test_a_wrong_address_gets_the_same_shape(
    alice: httpx.Client, method: str, address: str, status: int, code: str
) -> None:
    response = alice.request(method, address)
    assert (response.status_code, refusal(response)["code"]) == (status, code)


def test_a_405_names_the_methods(alice: httpx.Client) -> None:
    assert set(alice.put(f"/threads/{uuid4()}").headers["Allow"].split(", ")) == {"GET", "PATCH", "DELETE"}


def test_after_all_that_the_question_stands_untouched(alice: httpx.Client, approval: dict[str, Any]) -> None:
    """The last test of this file: it looks at the approval every one before it aimed at."""
    assert alice.get(f"/approvals/{approval['id']}").json() == approval
    state = alice.get(f"/threads/{approval['thread_id']}/state").json()
    assert (state["checkpoint"]["checkpoint_id"], state["values"]) == (approval["checkpoint_id"], approval["state"])
    voted = alice.post(
        f"/approvals/{approval['id']}/votes", json={"verdict": "approve", "seen_digest": approval["digest"]}
    )
    assert voted.status_code == 201, voted.text


def count_threads() -> int:
    from approvals.models import Thread

    return Thread.objects.count()
