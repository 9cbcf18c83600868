"""What was previewed is not tried again by the vote that follows, which then needs no worker."""

from collections.abc import Callable
from typing import Any

import psycopg

from tests import servers
from tests.console import Console
from tests.voting import code_of, read, vote

EDIT = {"text": {"op": "set", "value": "previewed"}}
OTHER = {"text": {"op": "set", "value": "not previewed"}}


def preview(console: Console, approval: dict[str, Any], edits: dict[str, Any]) -> str:
    with console.api("alice") as alice:
        asked = alice.post(f"/approvals/{approval['id']}/preview", json={"edits": edits})
        return str(asked.raise_for_status().json()["digest"])


def test_a_vote_on_what_was_previewed_needs_no_worker(own_console: Callable[..., Console]) -> None:
    env = {"DATABASE_URL": servers.clone(), "SECRET_KEY": "the same for both" * 3, "TEST_REPLY_SECONDS": "1"}
    console = own_console(**env).start()
    seen, forged, old, cleaned = console.pause_all("gated", [{"text": f"number {number}"} for number in range(4)])
    shown = {each["id"]: preview(console, each, EDIT) for each in (seen, forged, old, cleaned)}
    assert console.stop() == 0
    web = own_console("--no-worker", **env).start()
    assert code_of(vote(web, "bob", seen, edits=OTHER)) == (503, "unavailable")

    def change(what: str, approval: dict[str, Any], *values: Any) -> int:
        with psycopg.connect(env["DATABASE_URL"]) as database:
            sql = f"UPDATE approvals_trialresult SET {what} WHERE thread_id = %s"
            return database.execute(sql, [*values, approval["thread_id"]]).rowcount

    of_another = "result = (SELECT result FROM approvals_trialresult WHERE thread_id = %s)"
    assert change(of_another, forged, seen["thread_id"]) == 1
    assert code_of(vote(web, "bob", forged, edits=EDIT)) == (503, "unavailable")
    assert change("result = replace(result, 'a', 'b')", forged) == 1
    assert code_of(vote(web, "bob", forged, edits=EDIT)) == (503, "unavailable")
    assert change("created_at = created_at - interval '1 hour'", old) == 1
    assert code_of(vote(web, "bob", old, edits=EDIT)) == (503, "unavailable")
    web.manage("force_clean_thread", cleaned["thread_id"], "--yes", "--reason", "a test")
    assert change("thread_id = thread_id", cleaned) == 0, "what it showed goes with the thread"

    voted = vote(web, "bob", seen, edits=EDIT, seen_preview=shown[seen["id"]])
    assert voted.status_code == 201, voted.text
    assert voted.json()["decision"]["verdict"] == "approve"
    assert read(web, seen)["decision"]["edits"] == EDIT
    console.start()
    assert console.run_of(seen["id"])["status"] == "finished"
