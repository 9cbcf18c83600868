"""Redis hangs, is slow, full, killed and empty again. No vote waits for it; open pages hear of them when it is back."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from django.conf import settings
from websockets.sync.client import ClientConnection, connect

from tests.console import Console, wait_for
from tests.outages import Proxy, RedisServer, is_told
from tests.scale import tries

VOTES = tries(2, full=4)
Act = Callable[[RedisServer, Proxy], object]


@pytest.fixture(scope="module")
def server(data_dir: Path) -> Iterator[RedisServer]:
    with RedisServer(data_dir) as running:
        yield running


@pytest.fixture(scope="module")
def proxy(server: RedisServer) -> Proxy:
    return Proxy(("127.0.0.1", server.port))


@pytest.fixture(scope="module")
def other(console: Console, proxy: Proxy) -> Iterator[Console]:
    """A second console over the same database, whose Redis is broken; the first one carries out the runs."""
    running = Console({"REDIS_URL": f"redis://127.0.0.1:{proxy.port}/0"}, "--no-worker").start()
    yield running
    assert running.stop() == 0
    log = running.log.read_text()
    assert "Traceback" not in log
    assert len(log.splitlines()) < 20, "a line when Redis goes and when it comes, not one for each message"


@pytest.fixture(scope="module")
def socket(other: Console) -> Iterator[ClientConnection]:
    """The socket of a page that stays open through all of it."""
    with httpx.Client(follow_redirects=True) as browser:
        browser.get(other.link("alice"))
        headers = {"Cookie": f"sessionid={browser.cookies['sessionid']}", "Origin": other.url}
    with connect(f"{other.url.replace('http', 'ws')}/ws/live/", additional_headers=headers) as opened:
        yield opened


def redis_of(console: Console) -> str:
    return str(httpx.get(f"{console.url}/readyz", timeout=10).json()["redis"])


def vote(console: Console, approval: dict[str, object], headers: dict[str, str]) -> None:
    ballot = {"verdict": "approve", "seen_digest": approval["digest"]}
    answer = httpx.post(f"{console.url}/api/approvals/{approval['id']}/votes", json=ballot, headers=headers, timeout=30)
    assert answer.status_code == 201


def be_slow(proxy: Proxy, *, delay_seconds: float) -> None:
    proxy.delay_seconds = delay_seconds


@pytest.mark.parametrize(
    ("breaks", "state", "heals"),
    [
        pytest.param(lambda server, _: server.hang(), "down", lambda server, _: server.go_on(), id="hangs"),
        pytest.param(
            lambda _, proxy: be_slow(proxy, delay_seconds=0.07),
            "slow",
            lambda _, proxy: be_slow(proxy, delay_seconds=0),
            id="is slow",
        ),
        pytest.param(
            lambda server, _: server.be_full(),
            "down",
            lambda server, _: server.be_full(is_full=False),
            id="is full",
            marks=pytest.mark.full,
        ),
        pytest.param(lambda server, _: server.kill(), "down", lambda server, _: server.start(), id="comes back empty"),
    ],
)
def test_no_vote_waits_for_a_redis_that(
    console: Console,
    other: Console,
    server: RedisServer,
    proxy: Proxy,
    socket: ClientConnection,
    breaks: Act,
    state: str,
    heals: Act,
) -> None:
    approvals = console.pause_all("gated", [{"text": "no redis"}] * (VOTES + 1))
    headers = {"Authorization": f"Bearer {console.token('alice')}"}
    wait_for(lambda: redis_of(other) == "ok", what="a Redis that is well")
    breaks(server, proxy)
    try:
        for approval in approvals[:VOTES]:
            vote(other, approval, headers)  # counted, though Redis is as it is
        wait_for(lambda: redis_of(other) == state, what=f"/readyz to say {state}")
        assert is_told(socket), "the page asks again, so that it shows the notice"
    finally:
        heals(server, proxy)
    wait_for(lambda: redis_of(other) == "ok", what="the breaker to close by itself")
    assert is_told(socket), "the page catches up"
    while is_told(socket, seconds=2 * settings.REDIS_LOOK_SECONDS):
        """Until nothing is left of that: the socket looks at Redis once more, and is told if it is back."""
    vote(other, approvals[VOTES], headers)
    assert is_told(socket), "live again"
