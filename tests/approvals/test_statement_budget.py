"""How many statements a vote, a run and a page need at most: docs/reference/statements.md is the budget."""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import httpx
import pytest

from tests import servers
from tests.console import ROOT, Console, wait_for
from tests.logged import LoggedStatements

BUDGET = ROOT / "docs" / "reference" / "statements.md"
WEB, WORKER = "web", "worker"
TIMES = 3
"""What a worker does beside it only adds statements, so the smallest of so many counts is taken."""
IS_ASKING = "SELECT 1 FROM approvals_thread WHERE id = %s AND status = 'interrupted'"
SETTLED_SECONDS = 0.3
"""After its answer a process may say a last thing."""


class Watched(NamedTuple):
    """A web process and a worker whose statements are told apart, and a person's browser."""

    web: Console
    log: LoggedStatements
    browser: httpx.Client

    def pause(self) -> dict[str, Any]:
        return self.web.pause("gated", {"text": "x"})

    def fan(self, count: int) -> str:
        """Have one step ask this many questions; return the thread, once all are listed."""
        thread_id = self.web.start_run("fanning", {"count": count})
        with self.web.rows(IS_ASKING, thread_id) as ask:
            wait_for(ask, what=f"{count} questions of one step")
        return thread_id

    def vote(self, approval: dict[str, Any], **ballot: Any) -> None:
        with self.web.api("alice") as alice:
            given = {"verdict": "approve", "seen_digest": approval["digest"], **ballot}
            alice.post(f"/approvals/{approval['id']}/votes", json=given).raise_for_status()

    def answer(self, approval: dict[str, Any]) -> None:
        self.vote(approval, verdict="respond", answer="yes")

    def previewed(self) -> tuple[dict[str, Any], dict[str, Any]]:
        approval, edits = self.pause(), {"text": {"op": "set", "value": "y"}}
        with self.web.api("alice") as alice:
            preview = (
                alice.post(f"/approvals/{approval['id']}/preview", json={"edits": edits}).raise_for_status().json()
            )
        return approval, {"edits": edits, "seen_preview": preview["digest"]}

    def open(self, path: str, *, is_part: bool = False) -> None:
        self.browser.get(path, headers={"HX-Request": "true"} if is_part else {}).raise_for_status()


@pytest.fixture(scope="module")
def watched(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    url = servers.clone()
    log = LoggedStatements(url)
    env = {"DATABASE_URL": url, "DATA_DIR": str(tmp_path_factory.mktemp("watched")), "REDIS_URL": ""}
    worker = Console({**env, "PGAPPNAME": WORKER}).start()
    web = Console({**env, "PGAPPNAME": WEB}, "--no-worker").start()
    with httpx.Client(base_url=web.url, follow_redirects=True) as browser:
        browser.get(web.link("alice"))
        yield Watched(web, log, browser)
    assert (web.stop(), worker.stop()) == (0, 0)


def budget() -> dict[str, int]:
    rows = re.findall(r"^\| ([^|]+?) \| (\d+) \|", BUDGET.read_text(), re.M)
    return {name: int(count) for name, count in rows}


def counted(watched: Watched, who: str, prepare: Callable[[], Any], do: Callable[[Any], object]) -> list[str]:
    """Do it some times; return the statements of the time with the fewest."""
    told = []
    for _ in range(TIMES):
        given = prepare()
        time.sleep(SETTLED_SECONDS)
        watched.log.new(who)
        do(given)
        time.sleep(SETTLED_SECONDS)
        told.append(watched.log.new(who))
    return min(told, key=len)


def test_nothing_needs_more_statements_than_its_budget(watched: Watched) -> None:
    pause, vote = watched.pause, watched.vote

    def nothing() -> None:
        return None

    def carried_out(approval: dict[str, Any]) -> None:
        vote(approval)
        watched.web.run_of(approval["id"])

    waits = pause()
    page = f"/approvals/{waits['id']}/"
    counts = {
        "A vote": counted(watched, WEB, pause, vote),
        "A vote with an edit that was previewed": counted(
            watched, WEB, watched.previewed, lambda given: vote(given[0], **given[1])
        ),
        "A run to its first gate": counted(watched, WORKER, nothing, lambda _: pause()),
        "A run of a decision": counted(watched, WORKER, pause, carried_out),
        "The queue, a page": counted(watched, WEB, nothing, lambda _: watched.open("/")),
        "The queue, asked again": counted(watched, WEB, nothing, lambda _: watched.open("/", is_part=True)),
        "An approval, a page": counted(watched, WEB, nothing, lambda _: watched.open(page)),
        "An approval over the API": counted(watched, WEB, nothing, lambda _: watched.web.pending(waits["thread_id"])),
        "A thread, a page": counted(watched, WEB, nothing, lambda _: watched.open(f"/threads/{waits['thread_id']}/")),
        "The threads, a page": counted(watched, WEB, nothing, lambda _: watched.open("/threads/")),
    }
    found, most = {name: len(statements) for name, statements in counts.items()}, budget()
    assert found.keys() == most.keys(), str(found)
    over = {name: "\n".join(counts[name]) for name in found if found[name] > most[name]}
    assert over == {}, str(found)


SPARE = 2
OF_EACH_TASK = ("INSERT INTO checkpoint_writes", "UPDATE approvals_run AS run SET steps")
"""LangGraph stores what each task wrote; the steps are written more often the more nodes run, but not for each."""


def besides_tasks(statements: list[str]) -> list[str]:
    """Leave out what each task needs: its writes, and the question whether a connection for them is alive."""
    return [each for each in statements if each and not any(part in each for part in OF_EACH_TASK)]


def test_many_questions_of_one_step_need_no_more_statements_than_few(watched: Watched) -> None:
    # After the budget: with many writes at once the pool has more connections, which are asked whether they are alive.
    few, many = (of_questions(watched, count) for count in (10, 40))
    steps = [each for each in many["list"] if OF_EACH_TASK[1] in each]
    assert 0 < len(steps) < 60, "80 changes, an eighth of the running nodes at a time"
    over = {
        what: "\n".join((Counter(many[what]) - Counter(few[what])).elements())
        for what in many
        if len(besides_tasks(many[what])) > len(besides_tasks(few[what])) + SPARE
    }
    assert over == {}


def of_questions(watched: Watched, count: int) -> dict[str, list[str]]:
    """Return the statements with which a step's questions are listed, one is voted on, and the vote is carried out."""
    threads: list[str] = []
    listed = counted(watched, WORKER, lambda: None, lambda _: threads.append(watched.fan(count)))

    def next_one() -> dict[str, Any]:
        with watched.web.rows(IS_ASKING, threads[-1]) as ask:
            wait_for(ask, what="the last answer to be carried out")
        return watched.web.pending(threads[-1])

    def carried_out(approval: dict[str, Any]) -> None:
        watched.answer(approval)
        watched.web.run_of(approval["id"])

    return {
        "list": listed,
        "vote": counted(watched, WEB, next_one, watched.answer),
        "run": counted(watched, WORKER, next_one, carried_out),
    }
