"""Connections of the pool: those that the server has ended are replaced before use, and statements are prepared."""

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


def test_a_statement_that_is_sent_again_and_again_is_prepared(database: str) -> None:
    from django.contrib.auth.models import User
    from django.db import connection

    for number in range(4):
        User.objects.filter(pk=number).exists()
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements")
        prepared = [statement for (statement,) in cursor.fetchall()]
    assert any('FROM "auth_user"' in statement and "$1" in statement for statement in prepared)
