"""The statements of a database of its own, as PostgreSQL logs them: whatever process and library they come from."""

import re

import psycopg

from tests import servers
from tests.console import OF_TESTS

_STATEMENT = re.compile(r"LOG:  (?:statement|execute [^:]*): (.*)")
BACKGROUND = (
    "procrastinate_fetch_job",
    "procrastinate_defer_periodic_job",
    "procrastinate_workers",
    'UPDATE "approvals_worker"',
    "LISTEN",
    "NOT is_indexed AND changed_at",
    "approvals_inquiry",
)
"""Parts of what is asked again and again for as long as something takes: heartbeats, jobs, inquiries."""


class LoggedStatements:
    """Reads the log of the shared server. Make it before the console that is watched starts."""

    def __init__(self, url: str) -> None:
        self._name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
        self._log = servers.log_file()
        with psycopg.connect(url, autocommit=True, application_name=OF_TESTS) as database:
            database.execute(f"ALTER DATABASE {self._name} SET log_statement = 'all'")
        self._read = self._log.stat().st_size

    def new(self, who: str) -> list[str]:
        """Return each statement since the last call, of processes with that application_name."""
        with self._log.open("rb") as log:
            log.seek(self._read)
            text = log.read().decode(errors="replace")
            self._read = log.tell()
        begin = f"{self._name} {who}|"
        whole = text.replace("\n\t", " ")  # a statement of several lines
        lines = [line.removeprefix(begin) for line in whole.splitlines() if line.startswith(begin)]
        told = [found[1] for line in lines if (found := _STATEMENT.match(line))]
        # After a pause, a pooled connection is asked with an empty statement whether it is alive.
        return [each for each in told if each.strip() and not any(part in each for part in BACKGROUND)]
