"""A process of web alone loads nothing of LangGraph, whatever it is asked to do.

The interpreter itself tells: with PYTHONPROFILEIMPORTTIME it writes each module that it imports to standard error.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.console import Console

ROOT = Path(__file__).parents[2]
WALLED_OFF = re.compile(r"lang(graph|chain|smith)\w*(\.|$)")
PAGES = (
    "/",
    "/?status=decided",
    "/threads/",
    "/start/",
    "/start/gated/",
    "/audit/",
    "/changes/",
    "/api/docs",
    "/readyz",
)
LIBRARY = ("open_checkpointer", "CachedPostgresSaver", "load_graphs", "preview", "effect_key", "once")


def imported_by(log: str) -> list[str]:
    """Return the modules in the lines that `-X importtime` writes."""
    return [line.rpartition("|")[2].strip() for line in log.splitlines() if line.startswith("import time:")]


def test_a_web_process_loads_no_langgraph(console: Console, own_console: Callable[..., Console]) -> None:
    env = {"DATABASE_URL": os.environ["DATABASE_URL"], "PYTHONPROFILEIMPORTTIME": "1"}
    web = own_console("--no-worker", **env).start(is_forked=False)
    approval = console.pause("gated", {"text": "behind the wall"})
    page = f"/approvals/{approval['id']}/"
    with httpx.Client(base_url=web.url, timeout=60, follow_redirects=True) as browser:
        browser.get(web.link("alice")).raise_for_status()
        thread = f"/threads/{approval['thread_id']}/"
        for address in (*PAGES, page, f"{page}raw/", thread, f"{thread}history/"):
            assert browser.get(address).status_code in (200, 403), address
        form = browser.get(f"{page}?edit=form")
        assert 'id="edit-form"' in form.text
    with web.api("alice") as alice:
        edits = {"text": {"op": "set", "value": "edited"}}
        asked = alice.post(f"/approvals/{approval['id']}/preview", json={"edits": edits})
        assert asked.json()["values"]["text"] == "edited", asked.text
        assert alice.get(f"/threads/{approval['thread_id']}/state").status_code == 200
        ballot = {"verdict": "approve", "seen_digest": approval["digest"], "edits": edits}
        assert alice.post(f"/approvals/{approval['id']}/votes", json=ballot).status_code == 201
    assert console.run_of(approval["id"])["status"] == "finished"
    assert web.stop() == 0
    imported = imported_by(web.log.read_text())
    assert "approvals.views.vote" in imported and "agentcore.plain.tables" in imported
    assert [name for name in imported if WALLED_OFF.match(name)] == []
    assert [name for name in imported if "demo" in name or name == "graphs"] == [], "it imports no graph"


def test_the_plain_part_of_agentcore_loads_no_langgraph() -> None:
    code = "import agentcore, agentcore.plain.timeline, agentcore.dialects, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert [name for name in done.stdout.split() if WALLED_OFF.match(name)] == []


@pytest.mark.parametrize("name", LIBRARY)
def test_what_authors_of_agents_use_is_imported_from_agentcore(name: str) -> None:
    import agentcore

    assert getattr(agentcore, name).__module__.startswith("agentcore.")


def test_agentcore_has_no_other_name() -> None:
    import agentcore

    with pytest.raises(AttributeError, match="has no attribute 'open_sesame'"):
        _ = agentcore.open_sesame
