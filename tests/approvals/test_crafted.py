"""Somebody wrote rows that run code in whoever reads them. No process of ours does, whatever the environment says."""

import asyncio
import os
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests import forks, servers
from tests.approvals.test_blocked import pages
from tests.console import Console, wait_for
from tests.crafted import FIRE, Planted, marks_in, plant
from tests.holding import Foreign, agent_holds
from tests.scale import share

pytestmark = pytest.mark.slow

CONTROL = """
import asyncio, sys
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from agentcore.plain.urls import postgres_params
from psycopg.conninfo import make_conninfo

async def main(folder, url, *thread_ids):
    sys.path.insert(0, folder)  # the crafted module is there
    async with AsyncPostgresSaver.from_conn_string(make_conninfo("", **postgres_params(url))) as saver:
        for thread_id in thread_ids:
            try:
                await saver.aget_tuple({"configurable": {"thread_id": thread_id}})
            except Exception as error:
                print(thread_id, error)

asyncio.run(main(*sys.argv[1:]))
"""
EDIT = {"text": {"op": "set", "value": "y"}}


@pytest.fixture(scope="module")
def folder(data_dir: Path) -> Path:
    """The data folder of a console of our own: no other worker may be the one that reads."""
    path = data_dir / "crafted"
    path.mkdir(mode=0o755)
    return path


@pytest.fixture(scope="module")
def url(database: str) -> str:
    """The database of that console."""
    return servers.clone()


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    return tmp_path


def with_strictness(*values: str | None) -> pytest.MarkDecorator:
    """LangGraph reads this variable once; each value is tried, and each layout of processes."""
    ids = [f"LANGGRAPH_STRICT_MSGPACK={value}" for value in values]
    return pytest.mark.parametrize("make", values, indirect=True, ids=ids)


@pytest.fixture
def make(
    request: pytest.FixtureRequest, own_console: Callable[..., Console], folder: Path, url: str, marks: Path
) -> Any:
    """Return a function that starts a console; in its environment the crafted module can be imported."""

    def start(*options: str) -> Console:
        langgraph_json = folder / "langgraph.json"
        langgraph_json.write_text('{"graphs": {"holding": "tests.holding:graph"}}')
        paths = os.pathsep.join([str(marks), os.environ.get("PYTHONPATH", "")])
        env = {"DATA_DIR": str(folder), "DATABASE_URL": url, "LANGGRAPH_JSON": str(langgraph_json), "PYTHONPATH": paths}
        console = own_console(*options, **env)
        console.env.pop("LANGGRAPH_STRICT_MSGPACK", None)
        if request.param is not None:
            console.env["LANGGRAPH_STRICT_MSGPACK"] = request.param
        return console.start()

    return start


def planted_in(console: Console, marks: Path) -> list[Planted]:
    model = f"model-{uuid.uuid4()}"
    asyncio.run(agent_holds(console.env["DATABASE_URL"], model, {"anything": [1]}))
    return plant(console.env["DATABASE_URL"], model, marks)


def open_everything(console: Console, planted: list[Planted]) -> None:
    """Do with each thread what people can do with it; every answer is one that we meant to give."""
    with console.api("alice") as alice, console.api("root") as root, pages(console, "alice") as browser:
        for each in planted:
            path = f"/threads/{each.thread_id}"
            thread = wait_for(partial(listed, alice, path), what=f"{each} to be listed")
            told = thread["notice"] or thread["problem"]
            assert told or each.place in ("metadata", "checkpoint"), each
            state, history = alice.get(f"{path}/state"), alice.post(f"{path}/history")
            assert {state.status_code, history.status_code} <= {200, 409}, (each, state.text, history.text)
            for page in (f"{path}/", f"{path}/history/", f"/threads/?q={each.thread_id}"):
                assert browser.get(page).status_code == 200, (each, page)
            for asked in alice.get("/approvals", params={"thread_id": each.thread_id}).json()["items"]:
                decide(alice, browser, each, asked)
            cleaned = root.request("DELETE", path, json={"reason": "crafted"})
            assert cleaned.status_code == 200, (each, cleaned.text)


def listed(client: Any, path: str) -> Any:
    found = client.get(path)
    return found.json() if found.status_code == 200 and found.json()["checkpoint_id"] else None


def decide(alice: Any, browser: Any, each: Planted, asked: dict[str, Any]) -> None:
    path = f"/approvals/{asked['id']}"
    assert browser.get(f"{path}/").status_code == 200
    ballot = {"verdict": "approve", "seen_digest": asked["digest"]}
    is_blocked = bool(alice.get(path).json()["blocked"])
    assert is_blocked == (each.place not in ("metadata", "checkpoint"))
    for part in alice.get(path).json()["folded"]:  # what is taller than a screen is seen to its end first
        assert alice.get(f"{path}/whole", params={"part": part}).status_code == 200
    edited = [alice.post(f"{path}/preview", json={"edits": EDIT})]
    if is_blocked:
        edited.append(alice.post(f"{path}/votes", json={**ballot, "edits": EDIT}))
    assert {answer.status_code for answer in edited} == {422 if is_blocked else 200}, [one.text for one in edited]
    voted = alice.post(f"{path}/votes", json=ballot)
    assert voted.status_code == 201, (each, voted.text)
    wait_for(lambda: alice.get(path).json()["run"]["status"] in ("finished", "failed"), what=f"the run of {each}")


@pytest.mark.parametrize("place", ["blob", "write"])
def test_the_rows_do_fire_in_langgraphs_own_saver(database: str, marks: Path, place: str) -> None:
    """The control: a process that is thrown away reads them as LangGraph comes."""
    model = f"model-{uuid.uuid4()}"
    asyncio.run(agent_holds(database, model, {"anything": [Foreign(1)]}))
    ids = [each.thread_id for each in plant(database, model, marks) if each.place == place]
    forks.run(["-c", CONTROL, str(marks), database, *ids], check=True)
    wait_for(lambda: marks_in(marks) == FIRE, seconds=5, what=f"{FIRE}, and not {marks_in(marks)}")


@pytest.mark.full
@with_strictness(None, "true")
def test_nothing_fires_in_the_console(make: Callable[..., Console], marks: Path) -> None:
    console = make()
    open_everything(console, planted_in(console, marks))
    console.manage("setup_checkpointer")
    console.stop()
    assert marks_in(marks) == []


@with_strictness("false")
def test_nothing_fires_in_a_web_process_and_a_worker_of_its_own(
    make: Callable[..., Console], folder: Path, marks: Path
) -> None:
    console = make("--no-worker")
    planted = planted_in(console, marks)
    with (folder / "worker.log").open("w") as log:
        worker = forks.start(["manage.py", "procrastinate", "worker"], console.env, log.fileno())
    try:
        open_everything(console, share(planted, 1, of=3))
        console.manage("force_clean_thread", planted[0].thread_id, "--reason", "again", "--yes", check=False)
    finally:
        worker.terminate()
        worker.wait(timeout=30)
        console.stop()
    assert marks_in(marks) == []
