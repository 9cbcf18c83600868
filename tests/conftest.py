"""One PostgreSQL, one Redis and one console for all tests; nothing is mocked and nothing is rolled back.

Tests share the database as users do: each makes threads of its own and looks at those.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests import forks, programs
from tests.console import Console, free_port, stop_postgres, wait_for
from tests.scale import IS_FULL

_tmp = Path(tempfile.mkdtemp(prefix="countersign-"))


def pytest_configure(config: pytest.Config) -> None:
    """Set the environment before anything imports Django."""
    settings.register_profile("countersign", derandomize=not IS_FULL)  # the same cases every time, unless all are tried
    settings.load_profile("countersign")
    _tmp.chmod(0o755)
    os.environ.update(
        DJANGO_SETTINGS_MODULE="approvals.settings",
        DJANGO_ALLOW_ASYNC_UNSAFE="1",  # Playwright's sync API keeps a loop in the test's thread
        DATA_DIR=str(_tmp),
        LANGGRAPH_JSON=str(Path(__file__).parent / "langgraph.json"),
        DEMO_PACE="0",
        REDIS_URL=f"redis://127.0.0.1:{free_port()}/0",
        SSL_CERT_DIR=str(_tmp),  # all is plain HTTP; httpx would read every authority for each client, for 50 ms
    )
    os.environ.pop("SSL_CERT_FILE", None)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # what we start need not compile all of it again


def pytest_collection_finish(session: pytest.Session) -> None:
    """Find or install the programs before any test begins: that may take longer than a test may."""
    needed = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    if session.config.option.collectonly:
        return
    if "redis" in needed:
        programs.redis_server()
    if "browser" in needed:
        programs.chromium()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Show what the servers wrote, if a test failed; then forget it. Past pytest: a worker of xdist has no terminal."""
    terminal = sys.__stderr__
    if exitstatus and terminal is not None:
        for log in sorted(_tmp.rglob("serve-*.log")):
            terminal.write(f"\n--- the end of {log.relative_to(_tmp)}\n{log.read_text()[-3_000:]}")


def pytest_unconfigure(config: pytest.Config) -> None:
    forks.end()
    shutil.rmtree(_tmp, ignore_errors=True)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    return _tmp


@pytest.fixture(scope="session")
def redis() -> Iterator[str]:
    """A real Redis, for the channel layer."""
    url = os.environ["REDIS_URL"]
    port = url.rpartition(":")[2].partition("/")[0]
    command = [programs.redis_server(), "--port", port, "--save", "", "--bind", "127.0.0.1", "--dir", str(_tmp)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    from redis import Redis
    from redis.exceptions import ConnectionError

    def is_up() -> bool:
        try:
            with Redis.from_url(url) as client:
                return bool(client.ping())
        except ConnectionError:
            return False

    wait_for(is_up, what="redis")
    yield url
    process.terminate()
    process.wait()


@pytest.fixture(scope="session")
def database() -> Iterator[str]:
    """A real PostgreSQL with every table and the demo's people; Django is set up over it."""
    from approvals.conf import embedded

    os.environ["DATABASE_URL"] = url = embedded.start(_tmp)
    import django
    from django.core.management import call_command
    from django.db import connections

    django.setup()
    call_command("migrate", verbosity=0)
    call_command("setup_checkpointer", verbosity=0)
    call_command("demo", threads=0)
    yield url
    for connection in connections.all(initialized_only=True):
        connection.close()
        connection.close_pool()
    stop_postgres(_tmp)


@pytest.fixture(scope="session")
def console(database: str, redis: str) -> Iterator[Console]:
    """A console with its worker, over the shared database and Redis."""
    running = Console({}).start(is_forked=False)
    yield running
    assert running.stop() == 0


@pytest.fixture
def own_console(redis: str) -> Iterator[Callable[..., Console]]:
    """Make consoles with a database and a data folder of their own, for tests that break them. Not started."""
    made: list[Console] = []

    def make(*options: str, **env: str) -> Console:
        folder = tempfile.mkdtemp(prefix="own-", dir=_tmp)
        os.chmod(folder, 0o755)
        made.append(Console({"DATA_DIR": folder, "DATABASE_URL": "", "REDIS_URL": "", **env}, *options))
        return made[-1]

    yield make
    for each in made:
        if each.process and each.process.poll() is None:
            each.stop()
