"""`manage.py setup_checkpointer`, as a deploy runs it."""

import os
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from agentcore.savers.setup import _SETUP_LOCK
from tests import forks, servers
from tests.console import free_port
from tests.scale import tries

pytestmark = pytest.mark.slow

READY = "The checkpoint tables are ready.\n"


@pytest.fixture
def empty_url(database: str) -> str:
    """The URL of a database without tables."""
    return servers.new_database()


def set_up(url: str, *options: str) -> tuple[int, str, str]:
    """Run the command to its end; return its exit code and what it wrote."""
    done = forks.run(["manage.py", "setup_checkpointer", *options], env={**os.environ, "DATABASE_URL": url})
    return done.returncode, done.stdout, done.stderr


def test_deploys_at_once_are_ready(empty_url: str) -> None:
    deploys = tries(2, full=4)
    with ThreadPoolExecutor(deploys) as pool:
        assert list(pool.map(set_up, [empty_url] * deploys)) == [(0, READY, "")] * deploys


def test_it_says_whom_it_waited_for_and_can_be_started_again(empty_url: str) -> None:
    with psycopg.connect(empty_url, autocommit=True, application_name="a deploy") as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", [_SETUP_LOCK])
        code, out, told = set_up(empty_url, "--timeout", "0.3")
        assert (code, out) == (1, "")
        assert told.startswith("CommandError: The checkpoint tables are not set up: PostgreSQL has waited 0.3 s for")
        assert f"session {holder.info.backend_pid} (user postgres, application a deploy" in told
        assert len(told.splitlines()) == 1
    assert set_up(empty_url, "--timeout", "0.3") == (0, READY, "")


def test_a_database_that_does_not_answer_is_said_without_its_password() -> None:
    code, out, told = set_up(f"postgresql://app:hunter2@127.0.0.1:{free_port()}/agents")
    assert (code, out) == (1, "")
    assert "CommandError: The checkpoint database does not answer; see CHECKPOINT_URL" in told
    assert "Traceback" not in told
    assert "hunter2" not in told
