"""PostgreSQL is killed, stays away, takes no changes or no connections, and comes back, under consoles that serve."""

import itertools
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from redis import Redis
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from approvals.conf import embedded
from tests.console import Console, wait_for
from tests.outages import IMPATIENT, RedisServer, ballot, check_unavailable, is_told

GAVE_UP = re.compile("stopping worker|the worker stopped")
"""What the log says once Procrastinate's worker has given up, because the database is gone. It says the first
itself if one of its side tasks noticed; if its look for a job did, it only raises, and ours says the second.
"""
pytestmark = pytest.mark.timeout(180)


@dataclass
class Broken:
    """A console with a PostgreSQL and a Redis of its own, which the tests of this file break one after the other."""

    console: Console
    redis: RedisServer
    browser: httpx.Client

    @property
    def folder(self) -> Path:
        return Path(self.console.env["DATA_DIR"])

    def kill_postgres(self) -> None:
        os.kill(int((self.folder / "postgres" / "postmaster.pid").read_text().splitlines()[0]), signal.SIGKILL)

    def execute(self, *statements: str) -> None:
        with psycopg.connect(
            self.console.database_url, autocommit=True, options="-c default_transaction_read_only=off"
        ) as database:
            for statement in statements:
                database.execute(statement)

    def ready(self) -> dict[str, Any]:
        """Ask /readyz, which answers whatever is gone."""
        answer = httpx.get(f"{self.console.url}/readyz", timeout=10)
        assert answer.status_code == (503 if answer.json()["status"] == "unavailable" else 200)
        return dict(answer.json())

    def wait_until_ready(self) -> None:
        wait_for(lambda: self.ready()["status"] == "ok", seconds=40, what="readiness")


@pytest.fixture(scope="module")
def broken(own_postgres: Path) -> Iterator[Broken]:
    with RedisServer(own_postgres) as server:
        console = Console({**IMPATIENT, "DATA_DIR": str(own_postgres), "DATABASE_URL": "", "REDIS_URL": server.url})
        console.start()
        with httpx.Client(base_url=console.url, follow_redirects=True, timeout=30) as browser:
            browser.get(console.link("alice")).raise_for_status()
            yield Broken(console, server, browser)
        if console.process and console.process.poll() is None:
            assert console.stop() == 0


def vote(console: Console, approval: dict[str, Any], sent: dict[str, Any]) -> httpx.Response:
    with console.api("alice") as alice:
        return alice.post(f"/approvals/{approval['id']}/votes", json=sent)


def test_a_run_of_many_steps_does_not_wait_for_a_redis_that_hangs(broken: Broken) -> None:
    console = broken.console

    def carry_out() -> None:
        thread_id = console.start_run("stepping", {"text": "many"})
        with console.api("alice") as alice:
            wait_for(lambda: alice.get(f"/threads/{thread_id}").json()["status"] == "idle", what="the run to end")

    carry_out()
    connections = broken.redis.connections()
    broken.redis.hang()
    try:
        carry_out()  # it ends while Redis hangs: no step waits until that answers
        left_behind = broken.redis.connections() - connections
    finally:
        broken.redis.go_on()
    assert left_behind < 15, "80 messages; each that was tried would leave a connection behind"
    broken.wait_until_ready()


def test_postgresql_is_killed_stays_away_and_comes_back(broken: Broken) -> None:
    """Whatever is asked then gets a clear answer in time; nobody has to start anything again."""
    console, browser = broken.console, broken.browser
    approval = console.pause("gated", {"text": "during the outage"})
    with console.api("alice") as api, socket_of(browser) as socket:
        with asked_on_and_on(browser, api, approval) as answers:
            wait_for(lambda: {answer.status for answer in answers} == {200, 403, 404, 409}, what="each kind of answer")
            broken.kill_postgres()
            with Redis.from_url(broken.redis.url) as client:
                client.flushall()  # and nobody is in the groups of the sockets any more
            wait_for(lambda: broken.ready()["database"] == "down", what="/readyz to notice")
            check_unavailable(browser.get("/"))
            fragment = browser.get("/open-count/", headers={"HX-Request": "true"})
            check_unavailable(fragment)
            assert fragment.headers["hx-reswap"] == "none", "what the page shows stays"
            check_unavailable(vote(console, approval, ballot(approval)))
            with pytest.raises(InvalidStatus, match="403"), socket_of(browser):
                """A page whose socket is refused tries again by itself."""
            assert httpx.get(f"{console.url}/healthz").status_code == 200
            wait_for(lambda: GAVE_UP.search(console.log.read_text()), what="Procrastinate's worker to give up")
            embedded.start(broken.folder)
            broken.wait_until_ready()
        assert {answer.status for answer in answers} == {200, 403, 404, 409, 503}
        while is_told(socket, seconds=0.2):
            """Until nothing is left from before."""
        assert vote(console, approval, ballot(approval)).status_code == 201
        assert is_told(socket), "the socket is where it was, and in its groups again"
    assert console.run_of(approval["id"])["status"] == "finished"
    with console.api("erin") as erin:
        assert erin.get("/audit/verify").json()["ok"] is True
    log = console.log.read_text()
    assert "django.request" not in log, "the outage is a line for each request, not a page"
    assert "ASGI" not in log


@contextmanager
def socket_of(browser: httpx.Client) -> Iterator[ClientConnection]:
    url = str(browser.base_url).rstrip("/")
    headers = {"Cookie": f"sessionid={browser.cookies['sessionid']}", "Origin": url}
    with connect(f"{url.replace('http', 'ws')}/ws/live/", additional_headers=headers) as socket:
        yield socket


@dataclass(frozen=True)
class Answer:
    path: str
    status: int


@contextmanager
def asked_on_and_on(browser: httpx.Client, api: httpx.Client, approval: dict[str, Any]) -> Iterator[list[Answer]]:
    """Pages, fragments, refusals that are written down, and votes, several at a time, until the block ends."""
    answers: list[Answer] = []
    is_over = threading.Event()
    stale = {"verdict": "approve", "seen_digest": "not what was shown"}
    requests: list[Callable[[], httpx.Response]] = [
        lambda: browser.get("/"),
        lambda: browser.get(f"/approvals/{approval['id']}/"),
        lambda: browser.get("/audit/"),
        lambda: browser.get("/no/such/page/"),
        lambda: browser.get("/open-count/", headers={"HX-Request": "true"}),
        lambda: api.get("/threads/no-such-thread"),
        lambda: api.post(f"/approvals/{approval['id']}/votes", json=stale),
    ]
    each = itertools.cycle(requests)

    def go_on_asking() -> None:
        while not is_over.wait(0.02):
            answer = next(each)()
            answers.append(Answer(answer.request.url.path, answer.status_code))

    with ThreadPoolExecutor(3) as people:
        asking = [people.submit(go_on_asking) for _ in range(3)]
        try:
            yield answers
        finally:
            is_over.set()
    for one in asking:
        one.result()


def test_a_database_that_takes_no_changes_is_read_and_says_so(broken: Broken) -> None:
    console, browser, sentence = broken.console, broken.browser, "The database takes no changes right now."
    approval = console.pause("gated", {"text": "read-only"})
    sent = ballot(approval)
    page = f"/approvals/{approval['id']}/"
    form = dict(re.findall(r'name="(csrfmiddlewaretoken|seen_digest)" value="([^"]*)"', browser.get(page).text))
    broken.execute("ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
    try:
        wait_for(lambda: broken.ready()["database"] == "read-only", what="/readyz to say so")
        assert browser.get(page).status_code == 200
        check_unavailable(browser.post(f"{page}vote/", data=form | {"verdict": "approve"}), sentence)
        check_unavailable(vote(console, approval, sent), sentence)
    finally:
        broken.execute("ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()")
    broken.wait_until_ready()
    assert vote(console, approval, sent).status_code == 201
    assert console.run_of(approval["id"])["status"] == "finished"


def test_a_database_without_free_connections_is_waited_for(broken: Broken) -> None:
    console = broken.console
    approval = console.pause("gated", {"text": "no connections"})
    sent = ballot(approval)
    with every_connection_of(broken):
        wait_for(lambda: broken.ready()["database"] == "down", what="/readyz to say so")
        check_unavailable(vote(console, approval, sent))
        broken.redis.hang()  # at the same time: one look does not wait for the other
        try:
            wait_for(lambda: broken.ready()["redis"] == "down", seconds=6, what="/readyz to say that too")
        finally:
            broken.redis.go_on()
    broken.wait_until_ready()
    assert vote(console, approval, sent).status_code == 201
    # A worker that begins the run on a connection that was cut loses it until its lease ends, after 30 s.
    assert console.run_of(approval["id"], seconds=90)["status"] == "finished"


@contextmanager
def every_connection_of(broken: Broken) -> Iterator[None]:
    """Take each connection the server has, and each that the console gets in between, until the block ends."""
    taken = [psycopg.connect(broken.console.database_url, autocommit=True)]
    ended = threading.Event()
    keeper = threading.Thread(target=take_all, args=(taken, broken.console.database_url, ended))
    keeper.start()
    try:
        yield
    finally:
        ended.set()
        keeper.join()
        for each in taken:
            each.close()


def take_all(taken: list[psycopg.Connection[Any]], url: str, ended: threading.Event) -> None:
    """A connection that the console is just opening is in no list yet: so look again and again."""
    others = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE backend_type = 'client backend' AND NOT pid = ANY(%s)"
    )
    while not ended.is_set():
        try:
            taken.append(psycopg.connect(url, autocommit=True))
        except psycopg.OperationalError:
            taken[0].execute(others, [[each.info.backend_pid for each in taken]])
            ended.wait(0.05)


def test_a_console_is_stopped_though_postgresql_is_gone(broken: Broken) -> None:
    broken.kill_postgres()
    wait_for(lambda: broken.ready()["database"] == "down", what="/readyz to notice")
    assert broken.console.stop() == 0
