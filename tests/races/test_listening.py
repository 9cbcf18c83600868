"""The connection over which a process hears of changes is lost, refused or dead: open pages catch up."""

import os
import signal
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from websockets.sync.client import ClientConnection, connect

from approvals.live.relay import CHANNEL
from tests import servers
from tests.console import Console, wait_for
from tests.outages import Proxy, end_listeners, is_told, listeners

NAME = "other web"
LISTEN_BEAT_SECONDS = "1"


@pytest.fixture(scope="module")
def proxy(database: str) -> Proxy:
    return Proxy(str(servers.socket()))


@pytest.fixture(scope="module")
def other(console: Console, proxy: Proxy) -> Iterator[Console]:
    """A second console over the same database; the first one carries out the runs."""
    url = f"postgresql://postgres@127.0.0.1:{proxy.port}{urlsplit(console.env['DATABASE_URL']).path}"
    env = {"DATABASE_URL": url, "PGAPPNAME": NAME, "TEST_LISTEN_BEAT_SECONDS": LISTEN_BEAT_SECONDS}
    running = Console(env, "--no-worker").start()
    yield running
    assert running.stop() == 0
    log = running.log.read_text()
    assert "Traceback" not in log
    assert len(log.splitlines()) < 20, "a line when messages stop and when they come again, not one for each attempt"


@pytest.fixture(scope="module")
def database_of(console: Console) -> Iterator[psycopg.Connection]:
    with psycopg.connect(console.env["DATABASE_URL"], autocommit=True) as opened:
        yield opened


@pytest.fixture(scope="module")
def socket(other: Console) -> Iterator[ClientConnection]:
    """The socket of a page that stays open through all of it."""
    with httpx.Client(follow_redirects=True) as browser:
        browser.get(other.link("alice"))
        headers = {"Cookie": f"sessionid={browser.cookies['sessionid']}", "Origin": other.url}
    with connect(f"{other.url.replace('http', 'ws')}/ws/live/", additional_headers=headers) as opened:
        yield opened


def hear_nothing(socket: ClientConnection) -> None:
    """Receive what is left of what happened before."""
    while is_told(socket, seconds=1):
        pass


def test_a_page_is_told_of_what_another_process_did(console: Console, socket: ClientConnection) -> None:
    console.pause("gated", {"text": "in another process"})
    assert is_told(socket)


def test_a_page_catches_up_when_the_connection_was_lost(
    console: Console, socket: ClientConnection, database_of: psycopg.Connection
) -> None:
    hear_nothing(socket)
    end_listeners(database_of, NAME)
    assert is_told(socket), "it asks again: something may have happened meanwhile"
    wait_for(lambda: listeners(database_of, NAME), what="the process to listen again")
    hear_nothing(socket)
    console.pause("gated", {"text": "after it was lost"})
    assert is_told(socket), "live again"


def test_a_message_that_nobody_here_sent_harms_nothing(
    console: Console, socket: ClientConnection, database_of: psycopg.Connection
) -> None:
    hear_nothing(socket)
    for payload in ("a/b", "", "no such topic", "x" * 7_000):  # whoever can connect can send one
        database_of.execute("SELECT pg_notify(%s, %s)", [CHANNEL, payload])
    console.pause("gated", {"text": "after odd messages"})
    assert is_told(socket)


def test_a_connection_that_is_dead_is_noticed_although_nothing_fails(
    console: Console, socket: ClientConnection, database_of: psycopg.Connection
) -> None:
    hear_nothing(socket)
    (frozen,) = listeners(database_of, NAME)
    os.kill(frozen, signal.SIGSTOP)  # it takes what is sent to it, and never answers
    try:
        wait_for(lambda: set(listeners(database_of, NAME)) - {frozen}, what="another connection")
        assert is_told(socket)
        hear_nothing(socket)
        console.pause("gated", {"text": "while the old connection is dead"})
        assert is_told(socket)
    finally:
        os.kill(frozen, signal.SIGCONT)


def test_votes_count_while_no_process_can_listen(
    console: Console, other: Console, proxy: Proxy, socket: ClientConnection, database_of: psycopg.Connection
) -> None:
    approval = console.pause("gated", {"text": "nobody is told"})
    hear_nothing(socket)
    proxy.lets_listen = False
    end_listeners(database_of, NAME)
    assert is_told(socket), "the page asks again, so that it shows the notice"
    ballot = {"verdict": "approve", "seen_digest": approval["digest"]}
    headers = {"Authorization": f"Bearer {console.token('alice')}"}
    answer = httpx.post(f"{other.url}/api/approvals/{approval['id']}/votes", json=ballot, headers=headers, timeout=30)
    assert answer.status_code == 201
    console.run_of(approval["id"])
    assert not is_told(socket, seconds=1)
    proxy.lets_listen = True
    assert is_told(socket), "the page catches up"
