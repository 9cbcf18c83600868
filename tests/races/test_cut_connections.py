"""Connections that are cut while PostgreSQL stays: a worker takes new ones."""

from collections.abc import Callable

from tests.console import Console, wait_for

ADDED = "SELECT max(defer_timestamp) FROM procrastinate_periodic_defers HAVING max(defer_timestamp) > %s"
CUT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


def test_a_worker_that_serves_no_pages_adds_periodic_jobs_again_after_its_connections_were_cut(
    own_console: Callable[..., Console],
) -> None:
    """Each request renews the connections of its thread. A worker that serves none has to do it by itself."""
    console = own_console(WEB_PROCESSES="1", WORKER_PROCESSES="1").start()

    def added_after(second: int) -> int:
        with console.rows(ADDED, second) as rows:
            return int(wait_for(rows, what="a periodic job to be added")[0][0])

    first = added_after(0)
    with console.rows(CUT) as cut:
        assert len(cut()) > 1
    # More than the first one, which may have been added before.
    assert added_after(added_after(first)) > first
