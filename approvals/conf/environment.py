"""The environment variables that Countersign reads. Settings and the reference page are made from this list."""

import os
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Variable:
    """`default` is the value of an unset variable, in words where it is computed."""

    default: str
    meaning: str
    example: str


VARIABLES = {
    "DATABASE_URL": Variable(
        "an embedded PostgreSQL in `DATA_DIR`",
        "The console's PostgreSQL. Driver suffixes such as `+asyncpg` and pool options are accepted and dropped.",
        "postgresql://countersign:secret@db:5432/countersign",
    ),
    "CHECKPOINT_URL": Variable(
        "the console's database",
        "Where LangGraph's checkpoints are kept, when it is elsewhere: another PostgreSQL; `sqlite:///file.db` (from"
        " the root `sqlite:////folder/file.db`), for one process at a time; or `memory://`, until that process ends."
        " See [checkpoints](../how-to/checkpoints.md).",
        "postgresql://agents:secret@db:5432/agents",
    ),
    "REDIS_URL": Variable(
        "none",
        "Redis as a cache of checkpoints, for workers. See [checkpoints](../how-to/checkpoints.md).",
        "redis://127.0.0.1:6379/0",
    ),
    "REDIS_CACHE_TTL": Variable("86400", "Seconds that checkpoints are kept in Redis.", "3600"),
    "WEB_PROCESSES": Variable(
        "half of the cores, at most 2",
        "Processes of `manage.py serve` that answer pages and the API.",
        "4",
    ),
    "WORKER_PROCESSES": Variable(
        "half of the cores, at most 2",
        "Processes of `manage.py serve` that carry out runs. 0: the web processes do that"
        " as well, and a node that computes makes pages slow.",
        "4",
    ),
    "LANGGRAPH_JSON": Variable("langgraph.json", "The graphs, in LangGraph's own format.", "agents/langgraph.json"),
    "SECRET_KEY": Variable(
        "made once and kept in `DATA_DIR`, for a server on this machine only",
        "Signs sessions. Required when `PUBLIC_URL` is not this machine.",
        "a long random text",
    ),
    "PUBLIC_URL": Variable(
        "http://127.0.0.1:PORT",
        "The address people type. With https the cookies are secure and HSTS is on.",
        "https://approvals.example.org",
    ),
    "ALLOWED_HOSTS": Variable(
        "the host of `PUBLIC_URL`", "Host names that the server accepts, separated by commas.", "a.org,b.org"
    ),
    "CORS_ALLOWED_ORIGINS": Variable(
        "none",
        "Origins of pages elsewhere that may call the API from a browser, separated by commas. They need a token, as"
        " everybody does. See [clients](../how-to/clients.md).",
        "https://chat.example.org,http://localhost:3000",
    ),
    "PORT": Variable("8000", "The port `manage.py serve` listens on.", "8080"),
    "DATA_DIR": Variable(
        ".data; `.countersign` for the command `countersign`",
        "Where the embedded database, the secret key and the demo's outbox are kept.",
        "/var/lib/countersign",
    ),
    "DEMO_MODEL": Variable(
        "a scripted model, unless a key of a provider is set",
        "The chat model of the demo's agents, as LangChain names it. It is used only where its key (`OPENAI_API_KEY`,"
        " `ANTHROPIC_API_KEY`) is set and its package is installed.",
        "anthropic:claude-sonnet-4-5",
    ),
    "LEASE_SECONDS": Variable(
        "30",
        "How long a worker may be silent before another takes its threads over. Shorter finds dead workers sooner;"
        " longer forgives a machine that stalls.",
        "60",
    ),
    "OTHER_WRITERS": Variable(
        "refuse",
        "What happens to writes of other programs to a thread while a run of the console holds it: `refuse` has the"
        " database refuse them, `flag` stores them and says so on the run and in the log. See [agents that run"
        " elsewhere](../how-to/elsewhere.md).",
        "flag",
    ),
    "AUDIT_DIR": Variable(
        "`audit` in `DATA_DIR`",
        "Where the key of the audit log and its signed heads are kept, outside the database. See"
        " [the audit log](../how-to/audit.md).",
        "/var/lib/countersign-audit",
    ),
    "RETENTION_DAYS": Variable(
        "0: threads are kept",
        "Days after which a finished thread is removed, as by a force-clean. Threads that wait, run or are stuck stay,"
        " and so do votes, decisions and the audit log. See [removing threads](../how-to/clean.md).",
        "365",
    ),
    "LOG_LEVEL": Variable(
        "INFO",
        "How much is written to standard error, by the console, by graphs and by what they use. What a run logs is kept"
        " with it too: see [logs](../how-to/logs-and-traces.md).",
        "WARNING",
    ),
    "DEMO_PACE": Variable("0.6", "Seconds each node of the demo graphs takes, so that people can watch.", "0"),
}


def read(name: str) -> str:
    """Return the variable, or an empty string if it is unset. `name` must be in VARIABLES."""
    assert name in VARIABLES, f"{name} is not in VARIABLES"
    return os.environ.get(name, "").strip()


_ORIGIN = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:]+\])(:[1-9][0-9]{0,4})?")


def is_origin(text: str) -> bool:
    """Return whether a text is an origin, as a browser sends it: scheme and host, and a port if it has one."""
    return _ORIGIN.fullmatch(text) is not None
