"""Django's PostgreSQL back end. It asks the server whether a pooled connection is alive only if it may be gone.

Django's own way asks each time: a round trip more for each small piece of work.
"""

from typing import Any

from django.db.backends.postgresql import base
from psycopg import Connection, OperationalError
from psycopg_pool import ConnectionPool

from agentcore.plain.connections import may_be_gone, note_use


class DatabaseWrapper(base.DatabaseWrapper):
    def get_new_connection(self, conn_params: dict[str, Any]) -> Connection[Any]:
        """Return a connection that is alive. Raises PoolTimeout if there is none in time."""
        while True:
            connection: Connection[Any] = super().get_new_connection(conn_params)
            if _is_alive(connection):
                note_use(connection)
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
