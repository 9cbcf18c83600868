"""Django's PostgreSQL back end, with less to do for each statement.

It asks the server whether a pooled connection is alive only if it may be gone, where Django's own asks each time. It
keeps prepared statements, because to plan each anew takes PostgreSQL as long as all the rest.
"""

from typing import Any
from weakref import WeakSet

from django.db.backends.postgresql import base
from psycopg import Connection, OperationalError
from psycopg_pool import ConnectionPool

from agentcore.plain.connections import ANSWERING_PID, may_be_gone, note_use, prepare_if_direct

_known: WeakSet[Connection[Any]] = WeakSet()


class DatabaseWrapper(base.DatabaseWrapper):
    def get_new_connection(self, conn_params: dict[str, Any]) -> Connection[Any]:
        """Return a connection that is alive. Raises PoolTimeout if there is none in time."""
        while True:
            connection: Connection[Any] = super().get_new_connection(conn_params)
            if _is_alive(connection):
                note_use(connection)
                if connection not in _known:
                    _known.add(connection)
                    prepare_if_direct(connection, connection.execute(ANSWERING_PID).fetchone())
                return connection
            connection.close()
            self.pool.putconn(connection)  # the pool drops it, and makes another


def _is_alive(connection: Connection[Any]) -> bool:
    try:
        if may_be_gone(connection):
            ConnectionPool.check_connection(connection)
    except OperationalError:
        return False
    return True
