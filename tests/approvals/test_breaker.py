"""What a process knows of Redis, and that it never waits to know it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agentcore.plain.breaker import LOOK_EVERY_SECONDS, Breaker
from tests.console import wait_for
from tests.outages import RedisServer

pytestmark = pytest.mark.slow


@pytest.fixture
def server(database: str, data_dir: Path) -> Iterator[RedisServer]:
    with RedisServer(data_dir) as running:
        yield running


def test_one_waits_a_moment_and_nobody_after_until_somebody_has_looked(server: RedisServer) -> None:
    ours = Breaker(server.url)
    assert ours.state(wait_seconds=1) == "ok"
    server.hang()
    assert (ours.is_closed, ours.patience_seconds) == (True, 0.05)
    ours.doubt()
    assert (ours.is_closed, ours.patience_seconds) == (True, 0)
    wait_for(lambda: not ours.is_closed, seconds=3, what="the breaker to open")
    server.go_on()
    wait_for(lambda: ours.is_closed, seconds=4, what="the breaker to close")
    assert ours.patience_seconds == 0.05


def test_a_page_shows_what_is_known_and_the_next_one_knows_more(server: RedisServer) -> None:
    ours = Breaker(server.url)
    server.hang()
    assert ours.state() == "ok", "nobody waited for the look, which finds that it is down"
    wait_for(lambda: ours.state() == "down", seconds=3, what="the look to come back")
    server.go_on()
    wait_for(lambda: ours.state() == "ok", seconds=4, what="another look")


def test_a_readiness_check_waits_for_a_first_look_but_not_for_long(server: RedisServer) -> None:
    ours = Breaker(server.url)
    server.hang()
    assert ours.state(wait_seconds=0.01) == "down"
    assert ours.is_closed, "the look itself is not over: it would have opened the breaker"
    server.go_on()
    wait_for(lambda: ours.state() == "ok", seconds=4, what="another look")


def test_a_redis_that_goes_is_noticed_though_nobody_uses_it(server: RedisServer) -> None:
    ours = Breaker(server.url)
    assert ours.state(wait_seconds=1) == "ok"
    server.kill()
    wait_for(lambda: ours.state() == "down", seconds=LOOK_EVERY_SECONDS + 2, what="the next look")
    server.start()
    wait_for(lambda: ours.state() == "ok", seconds=4, what="the look after that")


def test_without_a_redis_there_is_nothing_to_break() -> None:
    ours = Breaker("")
    ours.doubt()
    assert (ours.state(wait_seconds=1), ours.is_closed) == ("off", True)
