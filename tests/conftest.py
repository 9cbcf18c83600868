"""One PostgreSQL and one Redis for a run, one console for each process of it; nothing is mocked or rolled back.

Tests share the database as users do: each makes threads of its own and looks at those.
"""

import gc
import os
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import environments, forks, programs, servers
from tests.console import Console, close_connections, free_port

SLOW_FIXTURES = {"console", "own_console", "browser", "arena"}
QUICK_CASES = 3
"""So many cases of each test are for every day."""


def pytest_configure(config: pytest.Config) -> None:
    """Set the environment before anything imports Django."""
    gc.disable()  # what is imported and collected stays
    if config.getoption("quick"):
        os.environ["QUICK"] = "1"
    from tests import scale  # which reads it

    # The same examples every time, unless all are tried.
    examples = scale.tries(50, full=100)
    settings.register_profile(
        "countersign",
        derandomize=not scale.IS_FULL,
        max_examples=examples,
        deadline=None,  # Hypothesis would fail tests because the machine is busy
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile("countersign")
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if not worker:
        environments.keep_authorities()
        _begin_run()
    (servers.folder() / worker).mkdir(exist_ok=True)
    os.environ.update(
        DJANGO_SETTINGS_MODULE="tests.settings",
        DJANGO_ALLOW_ASYNC_UNSAFE="1",  # Playwright's sync API keeps a loop in the test's thread
        DATA_DIR=str(servers.folder() / worker),
        LANGGRAPH_JSON=str(Path(__file__).parent / "langgraph.json"),
        DEMO_PACE="0",
        DATABASE_URL=servers.url_of(worker or "alone"),
        REDIS_URL=servers.redis_url(int(os.environ["TEST_REDIS_PORT"]), worker),
        SSL_CERT_DIR=str(servers.folder()),  # all is plain HTTP; httpx would read every authority for each client
    )
    os.environ.pop("SSL_CERT_FILE", None)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # what we start need not compile all of it again


def _begin_run() -> None:
    """Make the folder of the run and choose the port of its Redis; the processes of pytest-xdist inherit both."""
    run = tempfile.mkdtemp(prefix="countersign-")
    os.chmod(run, 0o755)  # PostgreSQL's own user looks into it
    os.environ.update({servers.RUN_DIR: run, "TEST_REDIS_PORT": str(free_port())})


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="what is for every day: see `_for_every_day`")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    from tests import scale

    kept = {item for item in items if scale.IS_FULL or not item.get_closest_marker("full")}
    if config.getoption("quick"):
        kept &= _for_every_day(items)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = [item for item in items if item in kept]


def _for_every_day(items: list[pytest.Item]) -> set[pytest.Item]:
    """Choose what needs no console or browser, or is marked `quick`, and is not marked `slow`.

    Of each test with many cases take a few: the first and the last, and between them at even distances.
    """
    cases: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        needs_much = SLOW_FIXTURES & set(getattr(item, "fixturenames", ()))
        if item.get_closest_marker("quick") or not (needs_much or item.get_closest_marker("slow")):
            cases[item.nodeid.partition("[")[0]].append(item)
    return {item for of_one_test in cases.values() for item in _few(of_one_test)}


def _few(cases: list[pytest.Item]) -> list[pytest.Item]:
    last = len(cases) - 1
    return [cases[round(number * last / (QUICK_CASES - 1))] for number in range(QUICK_CASES)]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Find or install the programs before any test begins: that may take longer than a test may."""
    gc.freeze()
    gc.enable()
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
        folder = Path(os.environ["DATA_DIR"])
        for log in sorted(folder.rglob("serve-*.log")):
            terminal.write(f"\n--- the end of {log.relative_to(folder)}\n{log.read_text()[-3_000:]}")


def pytest_unconfigure(config: pytest.Config) -> None:
    close_connections()
    forks.end()
    if "PYTEST_XDIST_WORKER" not in os.environ:
        servers.end()
        shutil.rmtree(servers.folder(), ignore_errors=True)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    return Path(os.environ["DATA_DIR"])


@pytest.fixture(scope="session")
def redis() -> str:
    """A real Redis, for the channel layer."""
    servers.start_redis()
    return os.environ["REDIS_URL"]


@pytest.fixture(scope="session")
def database() -> Iterator[str]:
    """A real database with every table and the demo's people; Django is set up over it."""
    import django

    servers.start_postgres()
    django.setup()
    servers.prepare(os.environ.get("PYTEST_XDIST_WORKER", "alone"), _fill)
    yield os.environ["DATABASE_URL"]
    _close_connections()


def _fill() -> dict[str, str]:
    """Fill an empty database; return a token of each person."""
    from django.contrib.auth.models import User
    from django.core.management import call_command

    from approvals.actions.people.sign_in import make_token

    call_command("migrate", verbosity=0)
    call_command("setup_checkpointer", verbosity=0)
    _close_connections()
    servers.keep_empty(os.environ.get("PYTEST_XDIST_WORKER", "alone"))
    call_command("demo", threads=0)
    made = {user.username: make_token(user) for user in User.objects.all()}
    _close_connections()
    return made


def _close_connections() -> None:
    from django.db import connections

    for connection in connections.all(initialized_only=True):
        connection.close()
        connection.close_pool()


@pytest.fixture(scope="session")
def console(database: str, redis: str) -> Iterator[Console]:
    """A console with its worker, over the shared database and Redis."""
    running = Console({"LANGGRAPH_JSON": os.environ["LANGGRAPH_JSON"]}).start()
    yield running
    assert running.stop() == 0


@pytest.fixture
def own_console(database: str, redis: str, data_dir: Path) -> Iterator[Callable[..., Console]]:
    """Make consoles with a database and a data folder of their own, for tests that break them. Not started.

    The database is a copy of the template: migrated, with people, without threads. `DATABASE_URL=""` gives the console
    an embedded PostgreSQL in its data folder instead, which is empty: start that with `--demo`.
    """
    made: list[Console] = []

    def make(*options: str, **env: str) -> Console:
        folder = tempfile.mkdtemp(prefix="own-", dir=data_dir)
        os.chmod(folder, 0o755)
        if "DATABASE_URL" not in env:
            env["DATABASE_URL"] = servers.clone()
        made.append(Console({"DATA_DIR": folder, "REDIS_URL": "", **env}, *options))
        return made[-1]

    yield make
    for each in made:
        if each.process and each.process.poll() is None:
            each.stop()
