"""`countersign dev` in the folder of an agent, with its code loaded again whenever it changes.

It begins as docs/how-to/own-graph.md does: with the two commands, and the files that the page has, as they stand there.
"""

import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from approvals.management.code_changes import CodeChanges
from tests import servers
from tests.at_home import AGENT, IN_THE_CLONE, AtHome
from tests.console import ROOT, wait_for

pytestmark = pytest.mark.slow
PAGE = (ROOT / "docs" / "how-to" / "own-graph.md").read_text()


def block(language: str) -> str:
    """Return the page's first block of code in this language."""
    found = re.search(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"the page has no {language}"
    return found[1]


@pytest.fixture(scope="module")
def home(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AtHome]:
    """The page's files, of which one cannot be imported at first: the console waits for that to be mended."""
    found = AtHome(
        tmp_path_factory.mktemp("payouts"), DATABASE_URL=servers.clone(), DJANGO_SETTINGS_MODULE="tests.settings"
    )
    (found.folder / "langgraph.json").write_text(block("json"))
    (found.folder / "payouts.py").write_text(f"import nothing_like_it\n{block('python')}")
    found.start()
    yield found
    processes = psutil.Process(found.process.pid).children(recursive=True) if found.process else []
    assert found.stop() == 0
    assert psutil.wait_procs(processes, timeout=30)[1] == []


def by(number: str) -> str:
    return AGENT.replace("by one", f"by {number}")


def test_the_page_begins_with_two_commands() -> None:
    assert PAGE.index("```sh") < 200
    assert block("sh").splitlines() == ["pip install ../countersign", "countersign dev"]


def test_the_two_commands_lead_to_an_approved_action(home: AtHome) -> None:
    said = home.log.read_text()
    assert "No module named 'nothing_like_it'" in said and "The graphs cannot be loaded." in said
    assert f"Watches the code in {home.folder}." in said
    assert (home.folder / ".countersign" / ".gitignore").read_text() == "*\n"
    said = home.change(lambda: (home.folder / "payouts.py").write_text(block("python")))
    assert "Reloaded: payouts.py changed. The next run uses the new code." in said
    with home.browser("olga") as olga:
        thread_id = started_on_page(olga)
    with home.api("alice") as alice:
        [waits] = wait_for(lambda: alice.get("/approvals").json()["items"], what="the question")
    with home.browser("bob") as bob:
        assert "send_payout" in bob.get(f"/approvals/{waits['id']}/").text and waits["thread_id"] == thread_id
    assert home.approve(thread_id, "receipt") == "20.5 to Ana"
    with home.browser("erin") as erin:
        assert "paying Ana" in erin.get(f"/threads/{thread_id}/log/").text


def started_on_page(olga: httpx.Client) -> str:
    olga.get("/start/payouts/").raise_for_status()
    typed = {"input-payee": "Ana", "input-amount": "20.5", "do": "start"}
    sent = olga.post("/start/payouts/", data={"csrfmiddlewaretoken": olga.cookies["csrftoken"], **typed})
    return str(sent.url).rstrip("/").rpartition("/")[2]


def test_what_waits_for_a_graph_that_is_gone_says_so_before_anybody_votes(home: AtHome) -> None:
    home.start_run("left-behind", "payouts", amount=1)
    with home.api("alice") as api, home.browser("alice") as alice:
        asked = {"thread_id": "left-behind"}
        [waits] = wait_for(lambda: api.get("/approvals", params=asked).json()["items"], what="the question")
        page = f"/approvals/{waits['id']}/"
        assert "Graph missing" not in alice.get("/").text and 'id="graph-gone"' not in alice.get(page).text
        assert "langgraph.json" in home.change(home.write)  # with another graph, and without that one
        wait_for(lambda: [each["id"] for each in api.get("/graphs").json()] == ["agent"], what="the other graph alone")
        wait_for(lambda: "Graph missing" in alice.get("/").text, what="it to be said")
        told = alice.get(page).text
        assert 'id="graph-gone"' in told and "No worker has the graph &#x27;payouts&#x27; any more." in told
        assert "graph missing" in alice.get("/beside/", headers={"HX-Request": "true"}).text
        assert "Graph missing." in alice.get("/approvals/bulk/", params={"id": waits["id"]}).text
        home.start_run("of-the-agent")
        assert home.approve("of-the-agent") == ["prepared by one", "paid by one"]
        assert alice.get("/", params={"tab": "open"}).text.count("Graph missing") == 1


def test_a_changed_node_is_used_by_the_next_run_and_a_run_in_progress_ends_as_it_began(home: AtHome) -> None:
    release = home.folder.parent / "release"
    home.start_run("in-progress", waits_for=str(release))
    with home.api("olga") as olga:
        running = lambda: olga.get("/threads/in-progress/runs").json()[0]["steps"]  # noqa: E731 - asked again and again
        wait_for(running, what="the node to begin")
        home.change(lambda: home.write(by("two")))
        home.start_run("after")
        assert home.approve("after") == ["prepared by two", "paid by two"]
        [run] = olga.get("/threads/in-progress/runs").json()
        assert run["status"] in ("pending", "running")
        release.touch()
        # What began with the old code ends its run with it. The decision is a run of its own, with the new code.
        assert home.approve("in-progress") == ["prepared by one", "paid by two"]

        def statuses() -> list[tuple[str, int]]:
            runs = olga.get("/threads/in-progress/runs").json()
            return [(run["countersign_status"], run["attempts"]) for run in runs]

        wait_for(lambda: statuses() == [("finished", 1), ("paused", 1)], what="two runs, each at its first attempt")


def test_code_that_cannot_be_loaded_leaves_the_workers_as_they_are(home: AtHome) -> None:
    said = home.change(lambda: home.write(by("three") + "\ndef ("), "Not reloaded")
    assert "SyntaxError" in said and "The workers go on with the code before." in said
    home.start_run("still")
    assert home.approve("still") == ["prepared by two", "paid by two"]
    home.change(lambda: home.write(by("four")))
    home.start_run("mended")
    assert home.approve("mended") == ["prepared by four", "paid by four"]


def countersign(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    env = AtHome(folder).env
    return subprocess.run(
        [*IN_THE_CLONE, *arguments], cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=60
    )


def test_a_folder_without_graphs_is_left_as_it_is(tmp_path: Path) -> None:
    done = countersign(tmp_path, "dev")
    assert done.returncode == 1 and "There is no langgraph.json here." in done.stderr
    assert '{"dependencies": ["."], "graphs": {"agent": "./agent.py:graph"}}' in done.stderr
    named = countersign(tmp_path, "dev", "--config", "agents/langgraph.json")
    assert named.returncode == 1 and "There is no agents/langgraph.json here." in named.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_taken_is_said_with_what_to_type(tmp_path: Path, database: str) -> None:
    AtHome(tmp_path).write()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        env = AtHome(tmp_path, DATABASE_URL=database).env
        command = [*IN_THE_CLONE, "dev", "--port", str(port)]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert f"Is another server there? Type: countersign dev --port {port + 1}" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ((), 0, "Usage: countersign COMMAND"),
        (("frob",), 1, "There is no command 'frob'."),
        (("dev", "--help"), 0, "--port"),
        (("worker", "--help"), 0, "--concurrency"),
        (("manage", "help"), 0, "signin_link"),
    ],
)
def test_the_command_says_what_it_can_do(tmp_path: Path, arguments: tuple[str, ...], code: int, told: str) -> None:
    done = countersign(tmp_path, *arguments)
    assert (done.returncode, told in done.stdout + done.stderr) == (code, True), done.stdout + done.stderr


def test_only_code_and_what_langgraph_json_is_made_of_counts_as_a_change(tmp_path: Path) -> None:
    project, beside = tmp_path / "project", tmp_path / "library"
    for folder in (project, beside, project / ".countersign", project / ".venv", project / "site-packages"):
        folder.mkdir()
    file = project / "langgraph.json"
    file.write_text('{"dependencies": [".", "../library"], "env": ".env", "graphs": {"a": "./a.py:g"}}')
    changes = CodeChanges(file, without=project / ".countersign")
    assert changes.folders() == [project, beside]
    with changes.watched():
        time.sleep(0.5)  # until the machine watches
        for path in ("notes.txt", ".countersign/x.py", ".venv/x.py", "site-packages/x.py", "a.pyc", "a.json"):
            (project / path).write_text("x")
        (project / "a.py").write_text("x")
        (project / ".env").write_text("x")
        (beside / "b.py").write_text("x")
        found: set[str] = set()
        wait_for(lambda: found.update(changes.take()) or len(found) >= 3, what="the changes")
        assert found == {"a.py", ".env", str(beside / "b.py")}
        file.write_text('{"graphs": {"a": "./a.py:g"}}')
        wait_for(lambda: changes.take() == ["langgraph.json"], what="langgraph.json to change")
        assert changes.folders() == [project]
    assert changes.problem == ""
