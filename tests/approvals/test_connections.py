"""A connection of the pool that the server has ended is replaced before anybody uses it."""

import psycopg

from tests.console import wait_for


def test_a_connection_that_the_server_ended_is_replaced(database: str) -> None:
    from django.db import connection

    def ask() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            return int(cursor.fetchone()[0])

    connection.close()
    ended = ask()
    connection.close()
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(%s)", [ended])
        left = "SELECT 1 FROM pg_stat_activity WHERE pid = %s"
        wait_for(lambda: not admin.execute(left, [ended]).fetchone(), what="the connection to be ended")
    assert ask() != ended
