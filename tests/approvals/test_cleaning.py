"""Removing threads: counted first, copied first; the old ones by themselves, and none that somebody needs."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.approvals.test_blocked import pages
from tests.console import Console, wait_for


def finished(console: Console, graph: str = "gated") -> str:
    """Return a thread whose graph reached its end."""
    approval = console.pause(graph, {"text": "x"})
    with console.api("alice") as alice:
        ballot = {"verdict": "approve", "seen_digest": approval["digest"]}
        alice.post(f"/approvals/{approval['id']}/votes", json=ballot).raise_for_status()
    console.run_of(approval["id"])
    return str(approval["thread_id"])


def aged(days: int, *thread_ids: str) -> None:
    """Say that these threads moved last so many days ago."""
    from datetime import timedelta

    from django.utils import timezone

    from approvals.models import Thread

    Thread.objects.filter(pk__in=thread_ids).update(updated_at=timezone.now() - timedelta(days=days))


def is_cleaned(console: Console, thread_id: str) -> bool:
    with console.api("root") as root:
        return root.get(f"/threads/{thread_id}").json()["cleaned_at"] is not None


def test_a_dry_run_counts_by_table_and_graph_and_changes_nothing(console: Console) -> None:
    thread_id = console.pause("gated", {"text": "x"})["thread_id"]
    done = console.manage("force_clean_thread", thread_id, "--reason", "A test.", "--dry-run")
    assert "'checkpoints': 3" in done.stdout
    assert "1 open approvals, 0 runs" in done.stdout
    assert "the graph itself:" in done.stdout
    assert not is_cleaned(console, thread_id)


def test_a_copy_is_taken_before_a_thread_goes(console: Console, tmp_path: Path) -> None:
    thread_id, file = finished(console), tmp_path / "copy.jsonl"
    arguments = ("force_clean_thread", thread_id, "--reason", "A test.", "--yes", "--export", str(file))
    assert "Removed." in console.manage(*arguments).stdout
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    kinds = [line["kind"] for line in lines]
    assert kinds[0] == "export"
    assert {"thread", "approval", "vote", "decision", "run", "entry"} < set(kinds)
    assert lines[-1] == {"kind": "end", "lines": len(lines) - 2}
    assert lines[1]["row"]["state"]["text"] == "done"
    assert next(line["row"]["voter"] for line in lines if line["kind"] == "vote") == "alice"
    assert is_cleaned(console, thread_id)
    again = console.manage(*arguments[:-1], str(file), check=False)
    assert again.returncode == 1


def test_a_file_that_is_there_is_not_overwritten_and_nothing_is_removed(console: Console, tmp_path: Path) -> None:
    thread_id, file = finished(console), tmp_path / "copy.jsonl"
    file.write_text("precious")
    refused = console.manage(
        "force_clean_thread", thread_id, "--reason", "A test.", "--yes", "--export", str(file), check=False
    )
    assert (refused.returncode, file.read_text()) == (1, "precious")
    assert "Nothing was removed." in refused.stderr
    assert not is_cleaned(console, thread_id)


def test_the_page_offers_the_copy_to_admins_alone(console: Console) -> None:
    thread_id = finished(console)
    path = f"/threads/{thread_id}/force-clean/"
    with pages(console, "root") as root, pages(console, "alice") as alice:
        assert f'href="{path}export/"' in root.get(path).text
        copy = root.get(f"{path}export/")
        assert copy.headers["content-disposition"].startswith("attachment")
        assert json.loads(copy.text.splitlines()[-1])["kind"] == "end"
        assert alice.get(f"{path}export/").status_code == 403
    with console.api("erin") as erin:
        entries = erin.get("/audit", params={"thread_id": thread_id, "action": "thread.exported"}).json()["items"]
    assert [entry["actor"] for entry in entries] == ["root"]


def test_the_entry_names_what_there_was_and_why_it_went(console: Console) -> None:
    thread_id = finished(console)
    with console.api("root") as root:
        removed = root.request("DELETE", f"/threads/{thread_id}", json={"reason": "It held a name."}).json()
    with console.api("erin") as erin:
        asked = {"thread_id": thread_id, "action": "thread.force_cleaned"}
        [entry] = erin.get("/audit", params=asked).json()["items"]
    assert entry["object"]["rows"] == removed["rows"]
    assert entry["object"]["graph"] == "gated"
    assert entry["object"]["namespaces"] == {"": sum(removed["rows"].values())}
    assert "reason" in entry["digests"]


def test_old_threads_that_are_over_go_and_no_others(console: Console) -> None:
    over, young, waiting = finished(console, "voting"), finished(console, "voting"), ""
    waiting = console.pause("voting", {"text": "x"})["thread_id"]
    aged(100, over, waiting)
    only = ("--days", "90", "--graph", "voting")
    dry = console.manage("clean_old_threads", *only, "--dry-run").stdout
    assert "voting: 1 threads" in dry
    assert not is_cleaned(console, over)
    assert "Removed 1 threads." in console.manage("clean_old_threads", *only, "--yes").stdout
    assert [is_cleaned(console, each) for each in (over, young, waiting)] == [True, False, False]
    with console.api("erin") as erin:
        [entry] = erin.get("/audit", params={"thread_id": over, "action": "thread.retired"}).json()["items"]
    assert entry["object"]["rows"]["checkpoints"] > 0


def test_a_worker_removes_old_threads_by_itself_only_where_it_is_told_to(console: Console, settings: Any) -> None:
    from approvals.actions.threads.retirement import retire_by_itself

    thread_id = finished(console, "reviewing")
    aged(4_000, thread_id)
    settings.RETENTION_DAYS = 0
    assert retire_by_itself() == 0
    settings.RETENTION_DAYS = 3_000
    assert retire_by_itself() == 1
    assert is_cleaned(console, thread_id)


@pytest.fixture
def settings() -> Any:
    """Django's, put back as they were."""
    from django.test import override_settings

    with override_settings(RETENTION_DAYS=0):
        from django.conf import settings

        yield settings


def test_a_thread_that_its_agent_moved_is_not_removed_by_age(console: Console, database: str) -> None:
    from tests.races.test_moved_threads import move

    approval = console.pause("failing", {"text": "x"})
    with console.api("alice") as alice:
        ballot = {"verdict": "approve", "seen_digest": approval["digest"]}
        alice.post(f"/approvals/{approval['id']}/votes", json=ballot).raise_for_status()
    console.run_of(approval["id"], until=("failed",))
    aged(100, approval["thread_id"])
    move(database, approval["thread_id"])
    console.manage("clean_old_threads", "--days", "90", "--graph", "failing", "--yes")
    assert not is_cleaned(console, approval["thread_id"])
    wait_for(lambda: console.pending(approval["thread_id"]), what="its new question")


@pytest.mark.parametrize("days", ["0", "-1", "1000000"])
def test_a_number_of_days_that_makes_no_sense_is_refused(console: Console, days: str) -> None:
    refused = console.manage("clean_old_threads", "--days", days, "--yes", check=False)
    assert refused.returncode == 1
    assert "days" in refused.stderr
    assert "Traceback" not in refused.stderr
