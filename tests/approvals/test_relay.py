"""Messages between processes: told once they are committed, to every thread and socket that waits for them."""

import asyncio
import threading
from collections.abc import Iterator

import pytest
from django.db import connection, transaction

from approvals.database import in_database
from tests.console import wait_for


@pytest.fixture
def listening(database: str) -> Iterator[None]:
    """This process listens, in an event loop of its own, as a web process does."""
    from approvals.live import relay

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(relay.follow(), loop).result(30)
    wait_for(lambda: relay._listener.is_up, what="the process to listen")
    yield
    task = relay._listener._task
    assert task is not None
    loop.call_soon_threadsafe(task.cancel)
    wait_for(task.done, what="the listener to end")
    relay._listener.is_up = False
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


class Waiting:
    """A thread that waits until `is_there`, and counts how often it looks."""

    def __init__(self, topic: str) -> None:
        self.looks, self.is_there, self.found = 0, False, None
        self.has_looked = threading.Event()
        self._topic = topic
        self._thread = threading.Thread(target=self._wait)
        self._thread.start()

    def _wait(self) -> None:
        from approvals.live import relay

        self.found = relay.wait_for(self._topic, self._look, seconds=30)
        connection.close()

    def _look(self) -> str | None:
        self.looks += 1
        self.has_looked.set()
        return "there" if self.is_there else None

    def end(self) -> None:
        self._thread.join()


@pytest.mark.usefixtures("listening")
def test_a_thread_that_waits_looks_when_it_is_told() -> None:
    from approvals.live import relay

    waiting = [Waiting("a-topic") for _ in range(5)]
    for each in waiting:
        each.has_looked.wait()
        each.has_looked.clear()
        each.is_there = True
    relay.announce(["another-topic", "a-topic"])
    for each in waiting:
        each.end()
        assert each.found == "there"
    assert sum(each.looks for each in waiting) <= 3 * len(waiting), "it does not ask all the time"
    assert relay._listener._waiting == {}, "nobody waits any more"


@pytest.mark.usefixtures("listening")
def test_what_is_rolled_back_is_not_told() -> None:
    from approvals.live import relay

    with relay._listener.heard("kept") as kept, relay._listener.heard("lost") as lost:
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            relay.announce(["lost"])
            _ = 1 / 0
        with transaction.atomic():
            relay.announce(["kept"])
            assert not kept.wait(0.2), "only when it is committed"
        assert kept.wait(30)
        assert not lost.is_set(), "messages come in the order of the commits"


async def test_nobody_waits_in_a_thread_that_workers_need() -> None:
    from approvals.live import relay

    with pytest.raises(AssertionError, match="takes the thread that the worker needs"):
        await in_database(lambda: relay.wait_for("a-topic", lambda: True, seconds=1))()
