"""Try the author's code, routing and reducers, apart from the worker: it may raise, wait or block.

Each trial has a thread with an event loop of its own, so that blocking code blocks nobody else. A thread cannot be
killed: one that blocks for ever stays until the process ends, and after a few of them no trial is started any more.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

LIMIT_SECONDS = 5.0
MOST_STUCK = 8
_stuck: set[threading.Thread] = set()


class TrialTooLong(Exception):
    """The trial exceeded its time limit."""


class TrialsStuck(Exception):
    """Too many trials have blocked for good: this process starts no more."""


class TrialStopped(Exception):
    """The code tried to end the process, as `sys.exit()` does. Only the trial ended."""


async def apart(work: Callable[[], Coroutine[Any, Any, T]], *, limit_seconds: float = LIMIT_SECONDS) -> T:
    """Return what `work` returns. Raises what it raises, TrialTooLong or TrialsStuck."""
    _stuck.difference_update([thread for thread in _stuck if not thread.is_alive()])
    if len(_stuck) >= MOST_STUCK:
        raise TrialsStuck(f"{MOST_STUCK} previews hang in this worker. Mend the graph's routing and restart it.")
    trial = _Trial(work)
    thread = threading.Thread(target=trial.run, name="trial", daemon=True)
    thread.start()
    try:
        async with asyncio.timeout(limit_seconds):
            return await asyncio.wrap_future(trial.came)
    except BaseException as error:
        if trial.came.done() and not trial.came.cancelled():
            raise  # its own, a TimeoutError perhaps
        trial.stop()
        _stuck.update([thread, *trial.threads.begun])
        if isinstance(error, TimeoutError):
            raise TrialTooLong(f"It was not done within {limit_seconds:g} s.") from None
        raise


class _Trial:
    def __init__(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        self._work = work
        self.came: Future[Any] = Future()
        self._loop = asyncio.new_event_loop()
        self.threads = _Threads()
        self._loop.set_default_executor(self.threads)
        self._task: asyncio.Task[Any] | None = None

    def run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            try:
                found = runner.run(self._main())
            except Exception as error:  # noqa: BLE001 - the author's code may raise anything; the caller gets it
                self._tell(error)
            except BaseException as error:  # noqa: BLE001 - not even sys.exit() ends the worker
                self._tell(TrialStopped(type(error).__name__))
            else:
                if self.came.set_running_or_notify_cancel():
                    self.came.set_result(found)

    async def _main(self) -> Any:
        self._task = asyncio.current_task()
        return await self._work()

    def _tell(self, error: Exception) -> None:
        if self.came.set_running_or_notify_cancel():
            self.came.set_exception(error)

    def stop(self) -> None:
        """Cancel the trial where it waits. Code that blocks its thread goes on until it returns."""
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()


class _Threads(ThreadPoolExecutor):
    """Threads that do not delay the end of the process.

    Python waits for those of a pool at exit, for ever if need be.
    """

    def __init__(self) -> None:
        super().__init__(1)
        self.begun: list[threading.Thread] = []

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        came: Future[T] = Future()
        came.set_running_or_notify_cancel()

        def run() -> None:
            try:
                came.set_result(fn(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - as a pool does
                came.set_exception(error)

        self.begun.append(threading.Thread(target=run, name="trial", daemon=True))
        self.begun[-1].start()
        return came
