"""The sessions that block the set-up, and how long it waits for them."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from agentcore.plain.errors import SetupTimeout

Connection = AsyncConnection[DictRow]

_LOOK_SECONDS = 0.05
"""Pause between two looks at the blocking sessions."""

# PostgreSQL shows start time and address of another role's session only to some roles.
_WHO_SQL = """
SELECT pid, usename, application_name, host(client_addr) AS address,
    extract(epoch FROM clock_timestamp() - xact_start)::int AS seconds
FROM pg_stat_activity
WHERE pid = ANY(%(pids)s) OR pid IN (SELECT unnest(pg_blocking_pids(waiting)) FROM unnest(%(pids)s::int[]) waiting)
ORDER BY xact_start
"""


@dataclass
class Patience:
    """How long the set-up waits for others in total. Work that nobody blocks does not count."""

    seconds: float
    _waited: float = 0
    _seen: Collection[int] = ()

    async def pause(self, connection: Connection, pids: Collection[int], *, seconds: float) -> None:
        """Wait a moment for these sessions. Raises SetupTimeout, which names them, if that has been too long."""
        await self.spend(connection, pids, seconds=seconds)
        await asyncio.sleep(seconds)

    async def spend(self, connection: Connection, pids: Collection[int], *, seconds: float) -> None:
        """Count time that was spent waiting; without pids, for the sessions of the last call."""
        self._seen = pids or self._seen
        if not self._waited < self.seconds:
            raise SetupTimeout(await self._told(connection))
        self._waited += seconds

    async def _told(self, connection: Connection) -> str:
        found = await rows(connection, _WHO_SQL, {"pids": [*self._seen]})
        who = " and ".join(map(_name, found)) or "a session that is gone, or a prepared transaction"
        pid = found[0]["pid"] if found else "PID"
        return (
            f"The checkpoint tables are not set up: PostgreSQL has waited {self.seconds:g} s for {who}."
            f" Wait until that ends, or end it with SELECT pg_terminate_backend({pid}); then set up again."
        )


async def watch(work: asyncio.Task[None], worker: Connection, looker: Connection, patience: Patience) -> None:
    """Wait until `work`, on the connection `worker`, is done. Cancel it when others block it for too long."""
    try:
        while not (await asyncio.wait([work], timeout=_LOOK_SECONDS))[0]:
            [found] = await rows(looker, "SELECT pg_blocking_pids(%s) AS pids", [worker.info.backend_pid])
            if found["pids"]:
                await patience.spend(looker, found["pids"], seconds=_LOOK_SECONDS)
        await work
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def rows(connection: Connection, query: str, params: Sequence[Any] | dict[str, Any] = ()) -> list[DictRow]:
    return await (await connection.execute(query, params)).fetchall()


def _name(session: DictRow) -> str:
    facts = [f"user {session['usename']}", f"application {session['application_name'] or 'unnamed'}"]
    if session["address"]:
        facts.append(f"from {session['address']}")
    if session["seconds"] is not None:
        facts.append(f"in a transaction for {session['seconds']} s")
    return f"session {session['pid']} ({', '.join(facts)})"
