"""What a process knows of Redis, and that it never waits to know it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.test import override_settings

from agentcore.plain.breaker import LONGEST_WAIT_SECONDS, LOOK_EVERY_SECONDS, Breaker
from approvals.live import breaker, events
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


class Asked(Breaker):
    """A breaker that writes down how long each message was allowed to wait."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.waits: list[float] = []

    @property
    def patience_seconds(self) -> float:
        self.waits.append(super().patience_seconds)
        return self.waits[-1]


@pytest.fixture
def own_breaker(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Asked]:
    """Messages of this process go over a Redis that may be broken."""
    layer = {**settings.CHANNEL_LAYERS["default"], "CONFIG": {"hosts": [server.url]}}
    monkeypatch.setattr(breaker, "redis", asked := Asked(server.url))
    with override_settings(CHANNEL_LAYERS={"default": layer}):
        yield asked


def test_messages_into_a_redis_that_hangs_cost_a_moment_once(server: RedisServer, own_breaker: Asked) -> None:
    def waits_of(messages: int) -> list[float]:
        own_breaker.waits.clear()
        for _ in range(messages):
            events.publish(thread_id="t-1")
        return list(own_breaker.waits)

    waits_of(1)
    server.hang()
    assert sum(waits_of(40)) <= LONGEST_WAIT_SECONDS, "the first waits a moment, and nobody after"
    wait_for(lambda: not own_breaker.is_closed, seconds=10, what="the breaker to open")
    connections = server.connections()
    assert waits_of(5) == [], "nobody even tries"
    assert server.connections() <= connections, "Redis is left alone"
    server.go_on()
    wait_for(lambda: own_breaker.is_closed, seconds=10, what="the breaker to close")


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
