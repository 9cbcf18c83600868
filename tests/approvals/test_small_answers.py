"""Little is sent: texts are compressed where that tells no secret, and static files are kept by browsers for good."""

import re
from collections.abc import Iterator

import httpx
import pytest

from tests.console import Console

PART = {"HX-Request": "true"}


@pytest.fixture(scope="module")
def browser(console: Console) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=console.url, follow_redirects=True) as opened:
        opened.get(console.link("alice")).raise_for_status()
        yield opened


@pytest.fixture(scope="module")
def approval_id(console: Console) -> str:
    return str(console.pause("gated", {"text": "small " * 100})["id"])


def is_compressed(answer: httpx.Response) -> bool:
    assert len(answer.content) > 200, "what is short is never compressed"
    return answer.headers.get("content-encoding") == "gzip"


def test_pages_and_their_parts_are_compressed(browser: httpx.Client, approval_id: str) -> None:
    for path, headers in (("/", {}), (f"/approvals/{approval_id}/", {}), ("/", PART), ("/?q=small", PART)):
        answer = browser.get(path, headers=headers).raise_for_status()
        assert is_compressed(answer), path
        assert "Accept-Encoding" in answer.headers["vary"]
    asked = {"Accept-Encoding": "identity"}
    assert not is_compressed(browser.get("/", headers=asked))


def test_what_another_site_can_put_input_into_is_not_compressed(browser: httpx.Client, approval_id: str) -> None:
    page = browser.get(f"/approvals/{approval_id}/")
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    assert token is not None
    form = {"csrfmiddlewaretoken": token[1], "verdict": "approve", "seen_digest": "0" * 64, "comment": "guess"}
    for answer in (
        browser.get("/?q=guess"),
        browser.get("/threads/?q=guess"),
        browser.get("/threads/guess/"),
        httpx.get(browser.base_url.join("/sign-in/")),
        browser.post(f"/approvals/{approval_id}/vote/", data=form, headers=PART),
    ):
        assert not is_compressed(answer), answer.request.url


def test_the_api_compresses_for_tokens(console: Console, approval_id: str) -> None:
    with console.api("alice") as alice:
        assert is_compressed(alice.get(f"/approvals/{approval_id}"))
        assert is_compressed(alice.get("/approvals", params={"status": "pending"}))


def test_a_streamed_export_stays_as_it_is(console: Console) -> None:
    with console.api("erin") as erin, erin.stream("GET", "/audit/export") as answer:
        assert answer.status_code == 200
        assert "content-encoding" not in answer.headers
        assert "content-length" not in answer.headers


def test_static_files_have_an_address_of_their_content_and_are_kept(browser: httpx.Client) -> None:
    page = browser.get("/").text
    addresses = re.findall(r'(?:src|href)="(/static/[^"]+)"', page)
    assert any("htmx" in address for address in addresses)
    for address in addresses:
        assert re.match(r"/static/[0-9a-f]{12}/", address)
        answer = browser.get(address).raise_for_status()
        assert answer.headers["cache-control"] == "max-age=31536000, public, immutable"
        assert is_compressed(answer), address
        plain = browser.get(address, headers={"Accept-Encoding": "identity"})
        assert plain.content == answer.content
        known = {"If-None-Match": plain.headers["etag"]}
        assert browser.get(address, headers=known).status_code == 304


def test_the_address_of_static_files_changes_with_them(tmp_path: object) -> None:
    from pathlib import Path

    from approvals.conf.static_version import static_version

    folder = Path(str(tmp_path))
    (folder / "a.css").write_text("a {}")
    before = static_version(folder)
    assert static_version(folder) == before
    (folder / "a.css").write_text("b {}")
    assert static_version(folder) != before
