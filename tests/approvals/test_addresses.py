"""Thread ids in addresses of the API: escaped ones are exact, and no id is taken for a longer address."""

import uuid
from urllib.parse import quote

import pytest

from tests.console import Console


def made(thread_id: str) -> str:
    """Leave a thread as an agent outside the console does."""
    from approvals.models import Thread

    return Thread.objects.get_or_create(pk=thread_id)[0].pk


@pytest.mark.parametrize(
    "ending",
    [
        "/join",
        "/stream",
        "/runs",
        "/state",
        "/history",
        f"/runs/{uuid.UUID(int=7)}/join",
        "/runs/crons",
        "/count",
        "%2F",
    ],
)
def test_an_id_that_ends_as_an_address_does_is_reached_escaped(console: Console, ending: str) -> None:
    short = made(f"t-{uuid.uuid4()}")
    long = made(short + ending)
    with console.api("alice") as alice:
        for thread_id in (short, long):
            address = f"/threads/{quote(thread_id, safe='')}"
            assert alice.get(address).json()["thread_id"] == thread_id
            assert alice.get(f"{address}/state").json()["checkpoint"]["thread_id"] == thread_id
            assert alice.get(f"{address}/runs").json() == []
            assert alice.post(f"{address}/history", json={}).json() == []


@pytest.mark.parametrize("name", ["search", "count", "prune", "..", "a b", "ü\u202e", "line\nbreak", "100%", "?", "#"])
def test_each_id_can_be_written_in_an_address(console: Console, name: str) -> None:
    made(name)
    escaped = "".join(f"%{byte:02X}" for byte in name.encode())
    with console.api("alice") as alice:
        assert alice.get(f"/threads/{escaped}").json()["thread_id"] == name
        assert alice.get(f"/threads/{escaped}/runs").json() == []


@pytest.mark.parametrize("name", ["search", "count", "prune"])
def test_what_is_a_call_of_the_api_is_no_id_of_a_new_thread(console: Console, name: str) -> None:
    with console.api("olga") as olga:
        refused = olga.post("/threads", json={"thread_id": name})
    assert refused.status_code == 422
    assert f"/threads/{name} is a call of the API. Take another one." in refused.json()["error"]["message"]


def test_the_empty_id_is_reached_too(console: Console) -> None:
    from django.contrib.auth.models import User
    from django.test import Client

    from approvals.models import Thread

    made("")
    browser = Client(SERVER_NAME="127.0.0.1")
    browser.force_login(User.objects.get(username="alice"))
    try:
        with console.api("alice") as alice:
            assert alice.get("/threads/").json()["thread_id"] == ""
            assert alice.get("/threads//state").json()["checkpoint"]["thread_id"] == ""
            assert alice.get("/threads//runs").json() == []
        for page in ("/threads/", "/threads//", "/threads//history/"):
            assert browser.get(page).status_code == 200, page
    finally:
        Thread.objects.filter(pk="").delete()


def test_an_id_with_slashes_may_stand_as_it_is_where_nothing_else_fits(console: Console) -> None:
    thread_id = made(f"customer/{uuid.uuid4()}")
    with console.api("alice") as alice:
        assert alice.get(f"/threads/{thread_id}").json()["thread_id"] == thread_id
        assert alice.get(f"/threads/{thread_id}/state").json()["checkpoint"]["thread_id"] == thread_id


def test_an_id_that_is_no_text_is_no_address(console: Console) -> None:
    with console.api("alice") as alice:
        refused = alice.get("/threads/%FF%FE/state")
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "not_found")
