"""What the code of a run prints, logs and warns of is kept with the run, shown on its page, and masked."""

import contextlib
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from websockets.sync.client import connect

from agentcore.plain.masks import MASK
from tests.console import Console, wait_for

KEPT = """
SELECT log.lines, log.dropped, run.status, run.has_log, run.id FROM approvals_run AS run
LEFT JOIN approvals_runlog AS log ON log.run_id = run.id WHERE run.thread_id = %s ORDER BY run.created_at
"""
ENDED = ("finished", "failed")


def kept(console: Console, thread_id: str, until: Callable[[Any], bool] | None = None) -> dict[str, Any]:
    """Return the newest run of the thread with its lines, once it has ended or is as asked for."""
    import json

    with console.rows(KEPT, thread_id) as read:

        def ask() -> dict[str, Any] | None:
            lines, dropped, status, has_log, run_id = read()[-1]
            found = {"lines": json.loads(lines or "[]"), "dropped": dropped, "status": status}
            found |= {"has_log": has_log, "id": run_id}
            return found if (until(found) if until else status in ENDED) else None

        return dict(wait_for(ask, what=f"the log of {thread_id}") or {})


def texts(found: dict[str, Any]) -> list[str]:
    return [line["text"] for line in found["lines"]]


@contextlib.contextmanager
def signed_in(console: Console, username: str) -> Any:
    with httpx.Client(base_url=console.url, follow_redirects=True, timeout=30) as browser:
        browser.get(console.link(username)).raise_for_status()
        yield browser


@pytest.fixture
def secret() -> str:
    return f"canary-{uuid.uuid4().hex}"


def test_what_a_run_says_is_kept_with_it_and_shown_on_its_page(console: Console, secret: str) -> None:
    thread_id = console.start_run("printing", {"word": "Ana", "api_key": secret})
    found = kept(console, thread_id)
    assert [(line["source"], line["level"]) for line in found["lines"]] == [
        ("stdout", ""), ("stdout", ""), ("stderr", ""), ("shop.orders", "INFO"), ("warning", "WARNING"), ("stdout", "")
    ]  # fmt: skip
    first, second, third, fourth, warned, last = texts(found)
    assert (first, second, third) == (f"Ana printed, and the key {MASK}", "Ana began and ended", "Ana to stderr")
    assert (fourth, last) == (f"Ana logged with {MASK}", f"Ana told {MASK}")
    assert warned.startswith("UserWarning: Ana is old (") and "printing.py" in warned
    with signed_in(console, "erin") as erin:
        for page in (f"/runs/{found['id']}/log/", f"/threads/{thread_id}/log/"):
            told = erin.get(page).text
            assert "Ana began and ended" in told and "shop.orders" in told and secret not in told
        assert f"/runs/{found['id']}/log/" in erin.get(f"/threads/{thread_id}/").text
        told = erin.get(f"/api/runs/{found['id']}/log")
        assert told.status_code == 401, "the API takes tokens"
    with console.api("erin") as erin:
        told = erin.get(f"/runs/{found['id']}/log").json()
        assert ([line["text"] for line in told["lines"]], told["dropped"]) == (texts(found), 0)
        assert erin.get(f"/runs/{uuid.uuid4()}/log").status_code == 404
    assert secret not in console.log.read_text()


def test_each_run_is_warned_anew(console: Console) -> None:
    for word in ("first", "second"):
        found = kept(console, console.start_run("printing", {"word": word}))
        assert sum(line["source"] == "warning" for line in found["lines"]) == 1, word


def test_lines_are_shown_while_the_run_goes_on(console: Console, tmp_path: Path, secret: str) -> None:
    release = tmp_path / "release"
    given = {"word": "Bo", "api_key": secret, "wait_for": str(release)}
    thread_id = f"t-{uuid.uuid4()}"
    with signed_in(console, "alice") as alice:
        headers = {"Cookie": f"sessionid={alice.cookies['sessionid']}", "Origin": console.url}
        address = f"{console.url.replace('http', 'ws')}/ws/live/?thread={thread_id}&age=0"
        with connect(address, additional_headers=headers) as page:
            console.start_run("printing", given, thread_id=thread_id)
            found = kept(console, thread_id, lambda found: any("Bo told" in text for text in texts(found)))
            assert (found["status"], found["has_log"]) == ("running", True)
            wait_for(lambda: '"log"' in str(page.recv(timeout=30)), what="the page to be told of lines")
        part = alice.get(f"/threads/{thread_id}/log/", headers={"HX-Request": "true"}).text
        assert f"Bo told {MASK}" in part and "<html" not in part and "changed-log" in part
    release.touch()
    (tmp_path / "release-2").touch()
    assert kept(console, thread_id)["status"] == "finished"


def test_runs_side_by_side_keep_their_own_lines(console: Console) -> None:
    words = [f"w{number}" for number in range(6)]
    threads = {word: console.start_run("printing", {"word": word, "lines": 60}) for word in words}
    for word, thread_id in threads.items():
        found = texts(kept(console, thread_id))
        assert len([text for text in found if text.startswith(f"{word} ")]) == len(found) - 1, "and its warning"
        assert [text for text in found if text.startswith(f"{word} ") and text[-1].isdigit()] == [
            f"{word} {number}" for number in range(60)
        ]


def test_a_run_that_says_much_keeps_the_newest_lines(console: Console) -> None:
    found = kept(console, console.start_run("printing", {"word": "C", "lines": 700}))
    assert (len(found["lines"]), found["dropped"]) == (500, 206)
    with signed_in(console, "erin") as erin:
        assert "206 older lines are not kept" in erin.get(f"/runs/{found['id']}/log/").text


def test_a_second_attempt_adds_to_the_lines_of_the_first(console: Console, secret: str) -> None:
    thread_id = console.start_run("printing", {"word": "D", "api_key": secret, "fails": True})
    found = kept(console, thread_id)
    assert found["status"] == "failed" and texts(found)[-1] == f"D told {MASK}"
    with console.api("olga") as olga:
        olga.post(f"/runs/{found['id']}/retry").raise_for_status()
        again = kept(console, thread_id, lambda found: found["status"] == "finished")
        [run] = olga.get(f"/threads/{thread_id}/runs").json()
    assert texts(again).count(f"D told {MASK}") == 2
    assert secret not in str(run)


def test_a_run_that_says_nothing_has_no_log(console: Console) -> None:
    thread_id = console.pause("gated", {"text": "x"})["thread_id"]
    found = kept(console, thread_id, lambda found: found["status"] == "paused")
    assert (found["has_log"], found["dropped"]) == (False, None)
    with signed_in(console, "erin") as erin:
        assert "Nothing was printed" in erin.get(f"/threads/{thread_id}/log/").text
        assert "Nothing was printed" in erin.get(f"/runs/{found['id']}/log/").text
        for path, named in ((f"runs/{UUID(int=0)}", "run"), ("threads/nope", "thread"), ("threads/%00", "thread")):
            missing = erin.get(f"/{path}/log/")
            assert (missing.status_code, f"There is no such {named}." in missing.text) == (404, True)


def test_a_removed_thread_keeps_no_lines(console: Console) -> None:
    thread_id = console.start_run("printing", {"word": "E"})
    assert kept(console, thread_id)["has_log"]
    with console.api("root") as root:
        assert root.request("DELETE", f"/threads/{thread_id}", json={"reason": "a test"}).status_code < 300
    found = kept(console, thread_id, lambda found: True)
    assert (found["lines"], found["has_log"]) == ([], False)
