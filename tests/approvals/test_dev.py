"""`countersign dev`: in the folder of an agent, with its code loaded again whenever it changes."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from approvals.management.code_changes import CodeChanges
from tests import servers
from tests.at_home import AGENT, IN_THE_CLONE, AtHome
from tests.console import wait_for

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AtHome]:
    """A folder whose agent cannot be imported at first: the console waits for that to be mended."""
    folder = tmp_path_factory.mktemp("agent")
    found = AtHome(folder, DATABASE_URL=servers.clone(), DJANGO_SETTINGS_MODULE="tests.settings")
    found.write("import nothing_like_it\n" + AGENT)
    found.start()
    yield found
    processes = psutil.Process(found.process.pid).children(recursive=True) if found.process else []
    assert found.stop() == 0
    assert psutil.wait_procs(processes, timeout=30)[1] == []


def changed(home: AtHome, source: str, word: str = "Reloaded", graphs: dict[str, str] | None = None) -> str:
    """Save the code, and return what it says about it."""
    before = home.log.read_text()
    home.write(source, graphs)
    return home.wait_until(word, times=before.count(word) + 1)[len(before) :]


def by(number: str) -> str:
    return AGENT.replace("by one", f"by {number}")


def test_code_that_cannot_be_loaded_at_first_is_waited_for(home: AtHome) -> None:
    said = home.log.read_text()
    assert "No module named 'nothing_like_it'" in said and "The graphs cannot be loaded." in said
    assert f"Watches the code in {home.folder}." in said
    assert (home.folder / ".countersign" / ".gitignore").read_text() == "*\n"
    with home.browser("alice") as alice:
        assert "Queue" in alice.get("/").text
    assert "agent.py changed. The next run uses the new code." in changed(home, AGENT)
    home.start_run("first")
    assert home.approve("first") == ["prepared by one", "paid by one"]


def test_a_changed_node_is_used_by_the_next_run_and_a_run_in_progress_ends_as_it_began(home: AtHome) -> None:
    release = home.folder.parent / "release"
    home.start_run("in-progress", waits_for=str(release))
    with home.api("olga") as olga:
        running = lambda: olga.get("/threads/in-progress/runs").json()[0]["steps"]  # noqa: E731 - asked again and again
        wait_for(running, what="the node to begin")
        changed(home, by("two"))
        home.start_run("after")
        assert home.approve("after") == ["prepared by two", "paid by two"]
        [run] = olga.get("/threads/in-progress/runs").json()
        assert run["status"] in ("pending", "running")
        release.touch()
        # What began with the old code ends its run with it. The decision is a run of its own, with the new code.
        assert home.approve("in-progress") == ["prepared by one", "paid by two"]
        runs = olga.get("/threads/in-progress/runs").json()
    assert [run["status"] for run in runs] == ["success", "interrupted"], "newest first; each ran once"


def test_code_that_cannot_be_loaded_leaves_the_workers_as_they_are(home: AtHome) -> None:
    changed(home, by("three"))
    said = changed(home, by("four") + "\ndef (", "Not reloaded")
    assert "SyntaxError" in said and "The workers go on with the code before." in said
    home.start_run("still")
    assert home.approve("still") == ["prepared by three", "paid by three"]
    changed(home, by("five"))
    home.start_run("mended")
    assert home.approve("mended") == ["prepared by five", "paid by five"]


def test_a_graph_is_added_and_another_is_gone(home: AtHome) -> None:
    said = changed(home, by("six"), graphs={"other": "./agent.py:graph"})
    assert "langgraph.json" in said
    with home.api("olga") as olga:
        wait_for(lambda: [each["id"] for each in olga.get("/graphs").json()] == ["other"], what="the graph alone")
    home.start_run("of-the-other", "other")
    assert home.approve("of-the-other") == ["prepared by six", "paid by six"]


def countersign(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    env = AtHome(folder).env
    return subprocess.run(
        [*IN_THE_CLONE, *arguments], cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=60
    )


def test_a_folder_without_graphs_is_left_as_it_is(tmp_path: Path) -> None:
    done = countersign(tmp_path, "dev")
    assert done.returncode == 1 and "There is no langgraph.json here." in done.stderr
    assert '{"dependencies": ["."], "graphs": {"agent": "./agent.py:graph"}}' in done.stderr
    assert list(tmp_path.iterdir()) == []


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
