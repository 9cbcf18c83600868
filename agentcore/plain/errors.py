"""What can go wrong on the LangGraph side.

AgentCoreError
 +-- BadDatabaseUrl         a database URL that cannot be used; never repeats the URL
 +-- DatabaseUnreachable    PostgreSQL does not answer at this URL, or does not let us in
 +-- BadRedisUrl            a Redis URL that cannot be used; never repeats the URL
 +-- RegistryError          langgraph.json, or a graph it names, cannot be loaded
 +-- FactoryFailed          a factory raised when it was to make the graph of a run
 +-- OtherGraph             a factory made another graph for a run than the one that people know
 +-- SetupTimeout           others kept the set-up of the checkpoint tables waiting
 +-- SetupFailed            PostgreSQL does not let us set up, or nobody has yet
 +-- FenceLost              the run's thread was taken by another worker; nothing it writes is stored
 +-- NotItsThread           a run wrote to another thread than its own
 +-- ThreadCleaned          somebody wrote to a thread that an admin removed; nothing is stored
 +-- ThreadHeld             somebody wrote to a thread while a run of the console holds it; nothing is stored
 +-- EffectMisused          effect_key() or once() was called where, or with what, cannot work
 +-- FailpointsRefused      a fault was to be injected outside tests, or there is no such failpoint
 +-- CheckpointsElsewhere   another process has the checkpoints: a SQLite file, or its memory
 +-- FileUnusable           the SQLite file of the checkpoints cannot be opened, read or written
 +-- CannotEdit             an edit the graph would not take; carries a fault for each path
 |    +-- Ambiguous         it may come from more than one node, and leads elsewhere from each
 +-- CannotFork             a checkpoint that is not there, or that cannot be copied
 +-- UnreadableThread       LangGraph itself cannot make a state of what is stored
 +-- NotKept                a checkpoint holds a value that PostgreSQL cannot keep; says which channel
 +-- UnsafeSerializer       the serializer builds objects it must not build
"""

import re
from dataclasses import asdict, dataclass
from typing import Any

NO_SUCH_CHECKPOINT = "The thread has no such checkpoint."


class AgentCoreError(Exception):
    """The base of every error raised by this package."""


class BadDatabaseUrl(AgentCoreError):
    """Say which part of the URL is wrong and what to type; never the URL itself, it has a password."""


class DatabaseUnreachable(AgentCoreError):
    """Correct host, port, name, user or password in the URL, or start the server."""


class BadRedisUrl(AgentCoreError):
    """Say which part of the URL is wrong and what to type; never the URL itself, it has a password."""


class RegistryError(AgentCoreError):
    """Name the entry of langgraph.json and what to change."""


class FactoryFailed(AgentCoreError):
    """Look at the factory: it raised for this run. Nothing was run."""


class OtherGraph(AgentCoreError):
    """Have the factory make the same nodes and gates for every run; the run can then be tried again."""


class SetupTimeout(AgentCoreError):
    """Wait until the sessions that are named end, or end them, and try again."""


class SetupFailed(AgentCoreError):
    """Do what the message says, as the role that owns the tables."""


class FenceLost(AgentCoreError):
    """Stop, and write nothing: another worker has the thread, or its run was cancelled."""


class NotItsThread(AgentCoreError):
    """Compile what the node calls with a checkpointer of its own; a run's is for the run's thread."""


class ThreadCleaned(AgentCoreError):
    """Start another thread: an admin removed this one."""


class ThreadHeld(AgentCoreError):
    """Wait until the console's run stops, read the thread again, and go on from where it stands then."""


class EffectMisused(AgentCoreError, RuntimeError):
    """Change the node as the message says; nothing was stored."""


class FailpointsRefused(AgentCoreError):
    """Unset FAILPOINTS: it is for tests, and works only where COUNTERSIGN_TESTING=1 is set as well."""


class CheckpointsElsewhere(AgentCoreError):
    """Ask the process that has them, or stop it first; for several processes use PostgreSQL."""


class FileUnusable(AgentCoreError):
    """Mend the file or its folder, or name another file."""


class CannotFork(AgentCoreError):
    """Fork another checkpoint; nothing was stored."""


class UnreadableThread(AgentCoreError):
    """Fork an earlier checkpoint, or clean the thread; its newest one cannot be read."""


class NotKept(AgentCoreError):
    """Have the node write another value to this channel: PostgreSQL cannot keep this one."""


class UnsafeSerializer(AgentCoreError):
    """Stop: a checkpoint could run code in this process."""


@dataclass(frozen=True)
class Fault:
    """One thing wrong with an answer: `path` such as `amount/value`, and a sentence."""

    path: str
    message: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


_SECRETS = (
    (re.compile(r"(\w+://[^\s:/@]*):[^\s@]+@"), r"\1:***@"),
    (
        re.compile(r"(?i)\b([\w-]*(?:password|passwd|secret|token|api[_-]?key|authorization))(\s*[=:]\s*)\S+"),
        r"\1\2***",
    ),
    (re.compile(r"\b(?:sk|pk|ghp|xox[bap])[-_][\w-]{5,}"), "***"),
)


def without_secrets(text: str) -> str:
    """Blank what looks like a password, token or key: an agent's exception may hold anything, and people see it."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return storable(text)


def storable(text: str) -> str:
    """Put a mark in the place of what PostgreSQL cannot keep as text: NUL and lone surrogates."""
    return re.sub("[\x00\ud800-\udfff]", "\ufffd", text)


class CannotEdit(AgentCoreError):
    """An edit does not fit the graph. Nothing was stored; `faults` says what to correct."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = faults
        super().__init__("; ".join(": ".join(filter(None, (fault.path, fault.message))) for fault in faults))


class Ambiguous(CannotEdit):
    """Say which node the edit comes from, as `as_node`."""
