"""Pages of other origins call the API from a browser where the setting names them, and no others."""

import os
from collections.abc import Callable

import httpx
import pytest

from tests.console import Console

OURS, OTHER = "http://chat.example.org:3000", "https://evil.example.org"
TOKEN_HEADERS = "authorization,content-type,x-api-key"


@pytest.fixture
def open_console(own_console: Callable[..., Console]) -> Console:
    console = own_console(
        "--no-worker", DATABASE_URL=os.environ["DATABASE_URL"], CORS_ALLOWED_ORIGINS=f"https://a.org, {OURS}"
    )
    return console.start()


def ask(console: Console, origin: str, *, path: str = "/api/threads/search", method: str = "OPTIONS") -> httpx.Response:
    wanted = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": TOKEN_HEADERS}
    return httpx.request(method, f"{console.url}{path}", headers={"Origin": origin, **wanted})


def test_pages_of_named_origins_may_call_the_api_and_no_others(open_console: Console) -> None:
    asked = ask(open_console, OURS)
    assert (asked.status_code, asked.headers["Access-Control-Allow-Origin"]) == (200, OURS)
    assert set(TOKEN_HEADERS.split(",")) <= set(asked.headers["Access-Control-Allow-Headers"].split(", "))
    assert "PATCH" in asked.headers["Access-Control-Allow-Methods"]
    assert "Access-Control-Allow-Credentials" not in asked.headers, "cookies are of no use to it"
    headers = {"Origin": OURS, "X-Api-Key": open_console.token("alice")}
    found = httpx.post(f"{open_console.url}/api/assistants/search", json={"limit": 1}, headers=headers)
    assert (found.status_code, found.headers["Access-Control-Allow-Origin"]) == (200, OURS)
    assert "content-location" in found.headers["Access-Control-Expose-Headers"] and "origin" in found.headers["Vary"]
    refused = httpx.post(f"{open_console.url}/api/assistants/search", json={}, headers={"Origin": OURS})
    assert (refused.status_code, refused.headers["Access-Control-Allow-Origin"]) == (401, OURS), "it can read why"
    for method, path in (("OPTIONS", "/api/threads/search"), ("GET", "/api/ok")):
        assert "Access-Control-Allow-Origin" not in ask(open_console, OTHER, path=path, method=method).headers
    assert "Access-Control-Allow-Origin" not in ask(open_console, OURS, path="/", method="GET").headers, (
        "no page is open"
    )


def test_without_the_setting_no_page_of_another_origin_may(console: Console) -> None:
    for method, path in (("OPTIONS", "/api/threads/search"), ("GET", "/api/ok")):
        assert "Access-Control-Allow-Origin" not in ask(console, OURS, path=path, method=method).headers
