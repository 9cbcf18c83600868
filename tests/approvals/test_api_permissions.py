"""Who may call what: a table. A route that is missing from it fails the build."""

import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.console import Console, wait_for
from tests.scale import IS_FULL
from tests.voting import policy

ROLES = ("anonymous", "no role", "viewer", "reviewer", "operator", "auditor", "admin")
PEOPLE = {
    "no role": "nora",
    "viewer": "vera",
    "reviewer": "alice",
    "operator": "olga",
    "auditor": "erin",
    "admin": "root",
}
EVERYBODY = (200, 200, 200, 200, 200, 200, 200)
EVERYONE_READS = (401, 403, 200, 200, 200, 200, 200)
EVERYONE_404 = (401, 403, 404, 404, 404, 404, 404)
OPERATORS = (401, 403, 403, 403, 200, 403, 200)
OPERATORS_404 = (401, 403, 403, 403, 404, 403, 404)
ADMINS_404 = (401, 403, 403, 403, 403, 403, 404)
GOES_ON_404 = (401, 403, 403, 404, 404, 403, 404)
ADMINS = (401, 403, 403, 403, 403, 403, 200)
AUDITORS = (401, 403, 403, 403, 403, 200, 200)

# 404 stands for "may, but there is none": the permission comes first.
TABLE: dict[str, tuple[int, ...]] = {
    # Reading: every role.
    "GET /api/approvals": EVERYONE_READS,
    "GET /api/approvals/{approval_id}": EVERYONE_READS,
    "POST /api/approvals/{approval_id}/preview": (401, 403, 403, 200, 200, 403, 200),
    "GET /api/graphs": EVERYONE_READS,
    "GET /api/graphs/broken": EVERYONE_READS,
    "GET /api/policies": EVERYONE_READS,
    "GET /api/notices": EVERYONE_READS,
    "POST /api/notices/{notice_id}/seen": (401, 403, 404, 404, 404, 404, 404),
    "POST /api/threads/search": EVERYONE_READS,
    "POST /api/threads/count": EVERYONE_READS,
    "GET /api/threads/{thread_id}": EVERYONE_READS,
    "GET /api/threads/{thread_id}/state": EVERYONE_READS,
    "GET /api/threads/{thread_id}/diagnosis": EVERYONE_READS,
    "GET /api/threads/{thread_id}/state/{checkpoint_id}": EVERYONE_READS,
    "POST /api/threads/{thread_id}/state/checkpoint": EVERYONE_READS,
    "POST /api/threads/{thread_id}/history": EVERYONE_READS,
    "GET /api/threads/{thread_id}/runs": EVERYONE_READS,
    "GET /api/threads/{thread_id}/runs/{run_id}": EVERYONE_READS,
    "GET /api/threads/{thread_id}/runs/{run_id}/join": EVERYONE_READS,
    "GET /api/runs/{run_id}/log": EVERYONE_READS,
    "GET /api/threads/{thread_id}/runs/{run_id}/stream": EVERYONE_READS,
    "GET /api/threads/{thread_id}/stream": EVERYONE_404,
    "POST /api/assistants/search": EVERYONE_READS,
    "POST /api/assistants/count": EVERYONE_READS,
    "GET /api/assistants/{assistant_id}": EVERYONE_READS,
    "GET /api/assistants/{assistant_id}/graph": EVERYONE_READS,
    "GET /api/assistants/{assistant_id}/schemas": EVERYONE_READS,
    "GET /api/assistants/{assistant_id}/subgraphs": EVERYONE_READS,
    "GET /api/assistants/{assistant_id}/subgraphs/{namespace}": EVERYONE_READS,
    "POST /api/assistants/{assistant_id}/versions": EVERYONE_READS,
    "POST /api/assistants/{assistant_id}/latest": EVERYONE_READS,
    # Everybody, with no token: is it there?
    "GET /api/ok": EVERYBODY,
    "GET /api/info": EVERYBODY,
    # Starting and repairing.
    "POST /api/threads": OPERATORS,
    "POST /api/threads/{thread_id}/runs": OPERATORS_404,
    "POST /api/threads/{thread_id}/runs/wait": OPERATORS_404,
    "POST /api/threads/{thread_id}/runs/stream": OPERATORS_404,
    "POST /api/threads/{thread_id}/fork": OPERATORS_404,
    "POST /api/threads/{thread_id}/copy": OPERATORS_404,
    "PATCH /api/threads/{thread_id}": OPERATORS_404,
    "POST /api/threads/{thread_id}/state": EVERYONE_404,
    "POST /api/threads/{thread_id}/replay": ADMINS_404,
    "POST /api/threads/{thread_id}/ask_again": GOES_ON_404,
    "POST /api/runs/{run_id}/retry": GOES_ON_404,
    "POST /api/runs/{run_id}/give_up": GOES_ON_404,
    "POST /api/runs/{run_id}/cancel": GOES_ON_404,
    "POST /api/threads/{thread_id}/runs/{run_id}/cancel": GOES_ON_404,
    "POST /api/threads/{thread_id}/binding": ADMINS_404,
    # Removing: admins.
    "DELETE /api/threads/{thread_id}": (401, 403, 403, 403, 403, 403, 404),
    # Deciding: reviewers, and nobody else. What one has not got cannot be taken back; each ballot has its own answer.
    "DELETE /api/approvals/{approval_id}/claim": (401, 403, 404, 404, 404, 404, 404),
    "POST /api/approvals/{approval_id}/claim": (401, 403, 403, 200, 403, 403, 403),
    "DELETE /api/approvals/{approval_id}/votes": (401, 403, 404, 404, 404, 404, 404),
    "POST /api/votes": (401, 403, 200, 200, 200, 200, 200),
    "POST /api/approvals/{approval_id}/votes": (401, 403, 403, 201, 403, 403, 403),
    # What another admin confirms: admins. The rule is off, so there is nothing to turn off.
    "GET /api/changes": ADMINS,
    "POST /api/changes/{change_id}/confirm": ADMINS_404,
    "POST /api/changes/{change_id}/refuse": ADMINS_404,
    "GET /api/two-admins": ADMINS,
    "POST /api/two-admins": (401, 403, 403, 403, 403, 403, 409),
    # The log: auditors and admins.
    "GET /api/audit": AUDITORS,
    "GET /api/audit/verify": AUDITORS,
    "GET /api/audit/export": AUDITORS,
    # Who may see an approval may have its receipt.
    "GET /api/approvals/{approval_id}/receipt": EVERYONE_404,
    # What is too long for a page, whole: there is none of this name.
    "GET /api/approvals/{approval_id}/whole": EVERYONE_404,
}
START = {"assistant_id": "gated", "input": {"text": "x"}}
SKIP = (401, 403, 403, 403, 201, 403, 201)
OPEN = {"api/openapi.json", "api/docs", "api/", "api/<any:path>"}


@pytest.fixture(scope="module")
def clients(console: Console) -> Iterator[dict[str, httpx.Client]]:
    from django.contrib.auth.models import Group, User

    User.objects.get_or_create(username="nora")
    User.objects.get_or_create(username="vera")[0].groups.add(Group.objects.get(name="viewer"))
    made = {role: console.api(name) for role, name in PEOPLE.items()}
    made["anonymous"] = httpx.Client(base_url=f"{console.url}/api", timeout=30)
    yield made
    for client in made.values():
        client.close()


@pytest.fixture(scope="module")
def ids(console: Console) -> dict[str, str]:
    approval = console.pause("gated", {"text": "permissions"})
    with console.api("alice") as alice:
        [run] = alice.get(f"/threads/{approval['thread_id']}/runs").json()
    return {
        "approval_id": approval["id"],
        "thread_id": approval["thread_id"],
        "checkpoint_id": approval["checkpoint_id"],
        "run_id": run["run_id"],
        "digest": approval["digest"],
        "notice_id": str(2**62),
        "assistant_id": "gated",
        "namespace": "sub",
        "change_id": str(uuid4()),
    }


def body_for(route: str, ids: dict[str, str]) -> dict[str, Any] | None:
    return {
        "POST /api/threads/{thread_id}/state/checkpoint": {"checkpoint": {"checkpoint_id": ids["checkpoint_id"]}},
        "POST /api/threads/{thread_id}/runs": START,
        "POST /api/threads/{thread_id}/runs/wait": START,
        "POST /api/threads/{thread_id}/runs/stream": START,
        "POST /api/threads/{thread_id}/fork": {"checkpoint_id": ids["checkpoint_id"]},
        "PATCH /api/threads/{thread_id}": {"metadata": {}},
        "POST /api/assistants/{assistant_id}/latest": {"version": 1},
        "POST /api/threads/{thread_id}/replay": {"checkpoint_id": ids["checkpoint_id"], "confirm": "x"},
        "POST /api/threads/{thread_id}/binding": {"graph_id": "gated"},
        "DELETE /api/threads/{thread_id}": {"reason": "A test."},
        "POST /api/two-admins": {"on": False},
        "POST /api/approvals/{approval_id}/votes": {"verdict": "approve", "seen_digest": ids["digest"]},
        "POST /api/approvals/{approval_id}/preview": {"edits": {}},
        "POST /api/votes": {
            "ballots": [{"approval_id": str(uuid4()), "verdict": "approve", "seen_digest": ids["digest"]}]
        },
    }.get(route, None if route.startswith("GET") else {})


def call(client: httpx.Client, route: str, ids: dict[str, str]) -> int:
    method, path = route.split()
    response = client.request(method, path.removeprefix("/api").format(**ids), json=body_for(route, ids))
    if response.status_code >= 400:
        assert response.json()["error"]["code"], response.text
    return response.status_code


def cells() -> list[Any]:
    """Return each route with each role; by default, of the roles that get the same answer, the first and the last."""
    # Reviewers last: their vote is taken, and then nobody else would be asked for a permission.
    order = sorted(ROLES, key="reviewer".__eq__)
    return [
        pytest.param(route, role, id=f"{role}: {route}")
        for route, expected in TABLE.items()
        for role in order
        if IS_FULL or role in ends(expected)
    ]


def ends(expected: tuple[int, ...]) -> set[str]:
    """Return, of each of these answers, the first and the last role that gets it."""
    answered = [[role for role, each in zip(ROLES, expected, strict=True) if each == status] for status in expected]
    return {role for roles in answered for role in (roles[0], roles[-1])}


@pytest.mark.parametrize(("route", "role"), cells())
def test_each_role_may_do_what_the_table_says(
    clients: dict[str, httpx.Client], ids: dict[str, str], route: str, role: str
) -> None:
    expected = TABLE[route][ROLES.index(role)]
    if TABLE[route] in (EVERYONE_404, OPERATORS_404, ADMINS_404, GOES_ON_404) or route.startswith("DELETE"):
        ids = {**ids, "approval_id": str(uuid4()), "thread_id": f"t-{uuid4()}", "run_id": str(uuid4())}
    assert call(clients[role], route, ids) == expected


@pytest.mark.parametrize("role", ROLES if IS_FULL else ["no role", "reviewer", "operator"])
def test_only_operators_and_admins_skip(console: Console, clients: dict[str, httpx.Client], role: str) -> None:
    starter = clients["admin" if role == "operator" else "operator"]  # nobody decides what they started
    thread_id = starter.post("/threads", json={}).json()["thread_id"]
    starter.post(f"/threads/{thread_id}/runs", json={"assistant_id": "gated", "input": {"text": "skip"}})
    approval = console.pending(thread_id)
    ballot = {"verdict": "skip", "seen_digest": approval["digest"]}
    response = clients[role].post(f"/approvals/{approval['id']}/votes", json=ballot)
    assert response.status_code == SKIP[ROLES.index(role)], response.text


def test_every_route_is_in_the_table(console: Console) -> None:
    schema = httpx.get(f"{console.url}/api/openapi.json").json()
    routes = {f"{method.upper()} {path}" for path, methods in schema["paths"].items() for method in methods}
    assert routes == TABLE.keys()


def test_no_address_is_left_out_of_the_schema(database: str) -> None:
    from approvals.api import ESCAPED, LOOSE, urls
    from approvals.api.not_offered import NOT_OFFERED

    addresses = {str(pattern.pattern).replace(LOOSE, ESCAPED) for pattern in urls[0]} - NOT_OFFERED.keys()
    plain = {f"api/{address}" for address in addresses} - OPEN
    assert {re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", each) for each in plain} <= {route.split()[1][1:] for route in TABLE}


def test_what_is_not_offered_says_so_and_why(console: Console) -> None:
    from approvals.api.not_offered import NOT_OFFERED

    with console.api("root") as root:
        for address, refused in NOT_OFFERED.items():
            for method, sentence in refused.items():
                answer = root.request(method, "/" + re.sub("<[^>]+>", "x", address), json={})
                assert (answer.status_code, answer.json()["error"]["code"]) == (501, "not_offered"), (method, address)
                assert answer.json()["error"]["message"] == sentence
        assert root.get("/store/namespaces").status_code == 405


def test_nobody_decides_what_they_started(console: Console) -> None:
    approval = console.pause("gated", {"text": "own"})
    with console.api("olga") as olga:
        ballot = {"verdict": "skip", "seen_digest": approval["digest"]}
        refused = olga.post(f"/approvals/{approval['id']}/votes", json=ballot)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "denied")
    assert "somebody else must decide" in refused.json()["error"]["message"]


def test_who_may_not_vote_learns_nothing_of_how_it_stands(console: Console) -> None:
    """Permission comes first: an old digest, a decision or a claim are told only to who might have voted."""
    with policy("gated", people=["alice"]):
        asked = console.pause("gated", {"text": "first"})
    refused = {"carol": "policy", "erin": "vote", "olga": "vote"}

    def tries(digest: str) -> dict[str, tuple[int, str]]:
        ballot = {"verdict": "approve", "seen_digest": digest}
        came = {}
        for name in refused:
            with console.api(name) as api:
                answer = api.post(f"/approvals/{asked['id']}/votes", json=ballot)
            came[name] = answer.status_code, answer.json()["error"]["detail"]["permission"]
        return came

    wanted = {name: (403, permission) for name, permission in refused.items()}
    assert tries(asked["digest"]) == tries("0" * 64) == wanted
    with console.api("alice") as alice:
        alice.post(f"/approvals/{asked['id']}/claim", json={}).raise_for_status()
        assert tries("0" * 64) == wanted
        ballot = {"verdict": "approve", "seen_digest": asked["digest"]}
        alice.post(f"/approvals/{asked['id']}/votes", json=ballot).raise_for_status()
    assert tries(asked["digest"]) == tries("0" * 64) == wanted


def test_a_refused_permission_is_in_the_audit_log(console: Console) -> None:
    with console.api("erin") as erin, console.api("carol") as carol:
        asked = {"actor": "carol", "action": "permission.refused"}
        before = len(erin.get("/audit", params={**asked, "limit": 1000}).json()["items"])
        assert carol.get("/audit").status_code == 403
        found = erin.get("/audit", params={**asked, "limit": 1000}).json()["items"]
    assert len(found) == before + 1
    assert (found[0]["object"], found[0]["outcome"]) == ({"permission": "read_audit"}, "refused")


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer wrong", "Basic YTpi", "Bearer \xe9", "Bearer " + "x" * 10_000],
    ids=["none", "empty", "no token", "unknown token", "basic", "latin-1", "long"],
)
def test_without_a_token_of_ours_nobody_gets_in(console: Console, header: str | None) -> None:
    headers = [] if header is None else [(b"Authorization", header.encode("latin-1"))]
    refused = httpx.get(f"{console.url}/api/approvals", headers=headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "unauthenticated")
    assert refused.headers["WWW-Authenticate"] == "Bearer"


def test_the_token_may_come_as_an_api_key(console: Console) -> None:
    address = f"{console.url}/api/approvals"
    assert httpx.get(address, headers={"X-Api-Key": console.token("alice")}).status_code == 200
    refused = httpx.get(address, headers={"X-Api-Key": "wrong"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "unauthenticated")
    assert "X-Api-Key" in refused.json()["error"]["message"]


def test_a_browser_session_does_not_open_the_api(console: Console) -> None:
    """So a page elsewhere can never make a signed-in browser vote."""
    from django.contrib.auth.models import User
    from django.test import Client

    session = Client()
    session.force_login(User.objects.get(username="alice"))
    cookies = {"sessionid": session.cookies["sessionid"].value}
    with httpx.Client(base_url=console.url, cookies=cookies) as browser:
        assert browser.get("/").status_code == 200
        assert browser.get("/api/approvals").status_code == 401


def test_a_person_who_was_deactivated_is_out_at_once(console: Console) -> None:
    from django.contrib.auth.models import Group, User

    dave, _ = User.objects.get_or_create(username="dave")
    dave.groups.add(Group.objects.get(name="reviewer"))
    with console.api("dave") as client:
        assert client.get("/approvals").status_code == 200
        User.objects.filter(username="dave").update(is_active=False)
        wait_for(lambda: client.get("/approvals").status_code == 401, seconds=5, what="dave to be out")
        User.objects.filter(username="dave").update(is_active=True)
