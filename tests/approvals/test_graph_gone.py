"""With another langgraph.json on the same data, what waits for a graph that is gone says so before anybody votes."""

import json
import uuid
from collections.abc import Callable
from pathlib import Path

import httpx

from tests import graphs, outside
from tests.console import ROOT, Console, wait_for


def test_what_waits_for_a_graph_that_is_gone_says_so_in_the_queue(
    own_console: Callable[..., Console], tmp_path: Path
) -> None:
    first = own_console().start()
    gone, kept = first.pause("gated", {"text": "x"}), first.pause("asking", {"text": "y"})
    page = f"/approvals/{gone['id']}/"
    with httpx.Client(base_url=first.url, follow_redirects=True, timeout=30) as alice:
        alice.get(first.link("alice")).raise_for_status()
        assert "Graph missing" not in alice.get("/").text and 'id="graph-gone"' not in alice.get(page).text
    assert first.stop() == 0
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": {"asking": f"{ROOT}/tests/graphs.py:asking"}}))
    env = {"DATABASE_URL": first.env["DATABASE_URL"], "LANGGRAPH_JSON": str(tmp_path / "langgraph.json")}
    second = own_console(**env).start()
    with httpx.Client(base_url=second.url, follow_redirects=True, timeout=30) as alice:
        alice.get(second.link("alice")).raise_for_status()
        wait_for(lambda: "Graph missing" in alice.get("/").text, what="it is said")
        listed = alice.get("/").text
        rows = {row.split('"')[0]: row for row in listed.split('id="row-')[1:]}
        assert "Graph missing" in rows[gone["id"]] and "Graph missing" not in rows[kept["id"]]
        told = alice.get(page).text
        assert 'id="graph-gone"' in told and "No worker has the graph &#x27;gated&#x27; any more." in told
        assert "graph missing" in alice.get("/beside/", headers={"HX-Request": "true"}).text
        assert "Graph missing" in alice.get("/approvals/bulk/", params={"id": gone["id"]}).text
    ended, waiting = f"t-{uuid.uuid4()}", f"t-{uuid.uuid4()}"
    outside.run(env["DATABASE_URL"], graphs.stepping, ended, {"count": 1}, graph_id="stepping")
    outside.run(env["DATABASE_URL"], graphs.gated, waiting, {"text": "x"}, graph_id="gated")
    with second.api("erin") as erin:

        def statuses() -> list[str]:
            asked = [erin.get(f"/threads/{thread_id}") for thread_id in (ended, waiting)]
            return [each.json()["status"] for each in asked if each.status_code == 200]

        wait_for(lambda: statuses() == ["idle", "error"], what="both to be read")
    assert second.stop() == 0
