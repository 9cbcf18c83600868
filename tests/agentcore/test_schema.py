"""The checkpoint tables are set up once, whoever else does the same, and repaired: on a real PostgreSQL."""

import asyncio
import hashlib
import json
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import psycopg
import pytest
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg import AsyncConnection, errors
from psycopg.conninfo import make_conninfo

from agentcore.graphs.snapshots import config_for, with_saver
from agentcore.plain.errors import SetupFailed, SetupTimeout
from agentcore.plain.urls import postgres_params
from agentcore.savers import setup as schema
from agentcore.savers import triggers
from agentcore.savers.opening import open_pool, saver_over
from agentcore.savers.setup import Pool, setup
from agentcore.savers.setup_blockers import Patience
from tests import forks, graphs
from tests.scale import some, tries

pytestmark = pytest.mark.slow

LANGGRAPHS = {"checkpoints", "checkpoint_blobs", "checkpoint_writes", "checkpoint_migrations"}
TABLES = LANGGRAPHS | set(triggers.TABLES)
FIRST_INDEX = next(v for v, step in enumerate(AsyncPostgresSaver.MIGRATIONS) if "CREATE INDEX" in step)
SET_UP = """
import asyncio, json, sys
from agentcore.savers.opening import open_pool
from agentcore.savers.setup import setup

async def main():
    async with open_pool(json.loads(sys.argv[1]), max_size=2) as pool:
        await setup(pool)

asyncio.run(main())
"""

Params = dict[str, str]
Session = AsyncConnection[Any]


@contextmanager
def own_database(database: str) -> Iterator[Params]:
    """Yield the libpq parameters of a database without tables."""
    params, name = postgres_params(database), f"empty_{uuid.uuid4().hex}"
    with psycopg.connect(make_conninfo("", **params), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield params | {"dbname": name}
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


OWN_LOCKS = (
    "SELECT pid FROM pg_locks WHERE locktype = 'advisory'"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


@pytest.fixture
def params(database: str) -> Iterator[Params]:
    with own_database(database) as made:
        yield made


@pytest.fixture
async def pool(params: Params) -> AsyncIterator[Pool]:
    async with open_pool(params, max_size=3) as opened:
        yield opened


@pytest.fixture
async def session(params: Params) -> AsyncIterator[Session]:
    """Somebody else in the same database."""
    async with connected(params) as opened:
        yield opened


@pytest.fixture
def role(database: str, params: Params) -> Iterator[str]:
    name = f"visitor_{uuid.uuid4().hex}"
    with psycopg.connect(make_conninfo("", **params), autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {name} LOGIN")
        yield name
        admin.execute(f"DROP OWNED BY {name}")
        admin.execute(f"DROP ROLE {name}")


@asynccontextmanager
async def connected(params: Params, **options: str) -> AsyncIterator[Session]:
    async with await AsyncConnection.connect(make_conninfo("", **params, **options), autocommit=True) as opened:
        yield opened


async def column(session: Session, query: str, *values: Any) -> list[Any]:
    return [row[0] for row in await (await session.execute(query, values)).fetchall()]


async def tables_of(session: Session) -> set[str]:
    return set(await column(session, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))


async def invalid_indexes(session: Session) -> set[str]:
    return set(await column(session, "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid"))


async def set_ups(session: Session, *, waiting: bool = False) -> list[int]:
    """Return the sessions of set-ups in this database, or those of them that wait for a lock."""
    return await column(
        session,
        "SELECT pid FROM pg_stat_activity WHERE application_name = %s AND datname = current_database()"
        " AND (NOT %s OR wait_event_type = 'Lock')",
        *(schema.APPLICATION, waiting),
    )


async def until(ask: Callable[[], Awaitable[Any]], *, seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while True:
            if await ask():
                return
            await asyncio.sleep(0.02)


async def is_whole(session: Session) -> bool:
    """Everything that a set-up makes is there, works, and nobody holds anything any more."""
    assert await tables_of(session) == TABLES
    assert await invalid_indexes(session) == set()
    assert set(schema._INDEXES) <= set(await column(session, "SELECT indexname FROM pg_indexes"))
    assert await column(session, "SELECT version FROM countersign_meta") == [triggers.VERSION]
    installed = sum("CREATE OR REPLACE TRIGGER" in statement for statement in triggers.INSTALL)
    assert len(await column(session, "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal")) == installed
    await until(lambda: not_any(set_ups(session)))
    assert await column(session, OWN_LOCKS) == []
    return True


async def not_any(found: Awaitable[list[Any]]) -> bool:
    return not await found


async def stock_setup(params: Params) -> None:
    """Set up as one who does not know of us does."""
    async with AsyncPostgresSaver.from_conn_string(make_conninfo("", **params)) as saver:
        await saver.setup()


# Together


async def test_sixteen_set_ups_at_once_all_succeed(
    params: Params, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unguarded, all but one die with UniqueViolation; behind pg_advisory_lock they hang. One of them does the work."""
    together = asyncio.Barrier(16)
    counted = ("CREATE SEQUENCE IF NOT EXISTS times", "SELECT nextval('times')")
    monkeypatch.setattr(triggers, "INSTALL", (*triggers.INSTALL, *counted))

    async def deploy() -> None:
        async with open_pool(params, max_size=1) as own:
            await together.wait()
            await setup(own, timeout_seconds=20)

    await asyncio.gather(*(deploy() for _ in range(16)))
    assert await is_whole(session)
    assert await column(session, "SELECT last_value FROM times") == [1]


async def test_it_follows_a_set_up_by_langgraph_alone_and_lets_one_follow(params: Params, session: Session) -> None:
    await stock_setup(params)
    async with open_pool(params) as own:
        await setup(own)
    await stock_setup(params)
    assert await is_whole(session)


async def test_langgraph_may_set_up_at_the_same_time(database: str) -> None:
    """LangGraph's may lose, as it does against itself: then it can be run again. Ours may not."""
    for _ in range(tries(1, full=4)):
        with own_database(database) as params:
            together = asyncio.Barrier(3)

            async def ours(params: Params = params, together: asyncio.Barrier = together) -> None:
                async with open_pool(params, max_size=1) as own:
                    await together.wait()
                    await setup(own, timeout_seconds=20)

            async def langgraphs(params: Params = params, together: asyncio.Barrier = together) -> None:
                async with AsyncPostgresSaver.from_conn_string(make_conninfo("", **params)) as saver:
                    await together.wait()
                    await saver.setup()

            [failed, *_] = await asyncio.gather(ours(), langgraphs(), langgraphs(), return_exceptions=True)
            assert failed is None
            await stock_setup(params)
            async with connected(params) as session:
                assert await is_whole(session)


# Again


async def test_setting_up_again_keeps_what_is_there(pool: Pool) -> None:
    await setup(pool)
    await with_saver(graphs.gated, saver_over(pool)).ainvoke({"text": "kept"}, config_for("t"))
    async with pool.connection() as connection:
        await connection.execute("UPDATE countersign_meta SET version = 0")
    secret = await schema.cache_secret(pool)
    await setup(pool)
    state = await with_saver(graphs.gated, saver_over(pool)).aget_state(config_for("t"))
    assert state.values["text"] == "kept"
    assert await schema.cache_secret(pool) == secret


async def test_where_all_is_in_place_it_neither_waits_nor_writes(params: Params, pool: Pool, session: Session) -> None:
    await setup(pool)
    async with open_pool(params | {"options": "-c default_transaction_read_only=on"}, max_size=1) as reader:
        await session.execute("SELECT pg_advisory_lock(%s)", [schema._SETUP_LOCK])
        async with session.transaction():
            for tables, mode in (
                ("checkpoints, checkpoint_blobs, checkpoint_writes, countersign_heads", "ACCESS EXCLUSIVE"),
                ("checkpoint_migrations, countersign_meta", "SHARE ROW EXCLUSIVE"),
            ):
                await session.execute(f"LOCK TABLE {tables} IN {mode} MODE")
            async with asyncio.timeout(5):
                await setup(reader, timeout_seconds=0)


async def test_tables_of_a_later_version_are_left_as_they_are(pool: Pool, session: Session) -> None:
    """While a deploy rolls on, old and new start side by side."""
    await setup(pool)
    await session.execute("UPDATE countersign_meta SET version = version + 1")
    await session.execute("DROP TRIGGER countersign_write ON checkpoint_writes")
    await setup(pool)
    assert "countersign_write" not in await column(session, "SELECT tgname FROM pg_trigger")


def test_what_is_installed_has_a_version_of_its_own() -> None:
    """INSTALL has changed? Then count VERSION up, or databases that are set up never get it; and mend this line."""
    digest = hashlib.sha256("\n".join(triggers.INSTALL).encode()).hexdigest()
    assert (triggers.VERSION, digest[:16]) == (5, "b26ef0e1d0c5fb41")


async def test_it_looks_for_what_langgraph_makes(params: Params, session: Session) -> None:
    await stock_setup(params)
    made = await column(session, "SELECT indexname FROM pg_indexes WHERE schemaname = 'public'")
    assert set(schema._INDEXES) == {name for name in made if not name.endswith("_pkey")}
    assert set(schema._TABLES) == LANGGRAPHS == await tables_of(session)


async def test_threads_older_than_the_triggers_are_found(params: Params, pool: Pool, session: Session) -> None:
    await stock_setup(params)
    await session.execute(
        "INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, checkpoint)"
        " SELECT 't' || thread, ns, ns || id, '{}'::jsonb"
        " FROM generate_series(1, 2100) thread, generate_series(1, 2) id, unnest(ARRAY['', 'sub']) ns"
        " UNION SELECT '', '', '7', '{}' UNION SELECT 'subgraph only', 'sub', '8', '{}'"
    )
    await setup(pool)
    found = await session.execute("SELECT thread_id, checkpoint_id, is_indexed FROM countersign_heads")
    expected = {(f"t{number}", "2", False) for number in range(1, 2101)} | {("", "7", False)}
    assert set(await found.fetchall()) == expected


async def test_every_database_has_a_secret_of_its_own(database: str) -> None:
    secrets = set()
    for _ in range(2):
        with own_database(database) as params:
            async with open_pool(params) as own:
                with pytest.raises(SetupFailed, match="not set up. Type: manage.py setup_checkpointer"):
                    await schema.cache_secret(own)
                await setup(own)
                secrets.add(await schema.cache_secret(own))
    assert [len(secret) for secret in secrets] == [32, 32]


# Waiting for others


async def test_a_set_up_that_waited_goes_on_when_the_lock_is_free(pool: Pool, session: Session) -> None:
    await session.execute("SELECT pg_advisory_lock(%s)", [schema._SETUP_LOCK])
    waiting = asyncio.create_task(setup(pool, timeout_seconds=20))
    await until(lambda: set_ups(session))
    assert await tables_of(session) == set()
    await session.execute("SELECT pg_advisory_unlock_all()")
    await waiting
    assert await is_whole(session)


async def test_another_set_up_is_named_after_the_time_given(database: str, pool: Pool, session: Session) -> None:
    async with await AsyncConnection.connect(database, autocommit=True) as elsewhere:
        for each in (elsewhere, session):  # a lock in another database is nobody's business here
            await each.execute("SELECT pg_advisory_lock(%s)", [schema._SETUP_LOCK])
        with pytest.raises(SetupTimeout, match=rf"waited 0.5 s for session {session.info.backend_pid} \(user \w+"):
            await setup(pool, timeout_seconds=0.5)
    assert await tables_of(session) == set()


async def test_an_old_transaction_is_named_and_nothing_is_left_waiting(
    params: Params, pool: Pool, session: Session
) -> None:
    """CREATE INDEX CONCURRENTLY waits for whoever still sees the table as it was."""
    async with connected(params, application_name="the report") as blocker:
        async with blocker.transaction():
            await blocker.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            await blocker.execute("SELECT 1")
            with pytest.raises(SetupTimeout) as raised:
                await setup(pool, timeout_seconds=0.5)
            pid = blocker.info.backend_pid
            for told in (
                f"session {pid} (user ",
                "application the report",
                "in a transaction for ",
                f"SELECT pg_terminate_backend({pid})",
            ):
                assert told in str(raised.value)
            await until(lambda: not_any(set_ups(session)), seconds=5)
            assert await column(session, OWN_LOCKS) == []
        await setup(pool, timeout_seconds=5)
    assert await is_whole(session)


async def test_a_set_up_that_waits_is_not_blamed_for_the_one_it_waits_for(
    params: Params, pool: Pool, session: Session
) -> None:
    async with connected(params) as blocker, blocker.transaction():
        await blocker.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        await blocker.execute("SELECT 1")
        first = asyncio.create_task(setup(pool, timeout_seconds=20))
        await until(lambda: set_ups(session, waiting=True))
        with pytest.raises(
            SetupTimeout, match=rf"end it with SELECT pg_terminate_backend\({blocker.info.backend_pid}\)"
        ):
            await setup(pool, timeout_seconds=0.3)
    await first


async def test_writers_go_on_while_it_waits_for_one_of_them(params: Params, pool: Pool, session: Session) -> None:
    """A lock that is waited for holds up everybody who comes later, for as long as it is waited for."""
    await stock_setup(params)
    insert = "INSERT INTO checkpoints (thread_id, checkpoint_id, checkpoint) VALUES (%s, '1', '{}')"
    async with connected(params) as writer:
        async with writer.transaction():
            await writer.execute(insert, ["slow"])
            setting_up = asyncio.create_task(setup(pool, timeout_seconds=30))
            await until(lambda: set_ups(session, waiting=True))
            for number in range(4):
                async with asyncio.timeout(1.5):
                    await session.execute(insert, [f"quick {number}"])
            assert not setting_up.done()
        await setting_up
    assert await is_whole(session)
    assert await column(session, "SELECT count(*) FROM countersign_heads") == [5]


async def test_a_writer_that_does_not_end_is_named(params: Params, pool: Pool, session: Session) -> None:
    await stock_setup(params)
    async with session.transaction():
        await session.execute("INSERT INTO checkpoints (thread_id, checkpoint_id, checkpoint) VALUES ('t', '1', '{}')")
        with pytest.raises(SetupTimeout, match=f"session {session.info.backend_pid} "):
            await setup(pool, timeout_seconds=0.8)
    await setup(pool)
    assert await is_whole(session)


async def test_work_that_nobody_holds_up_may_take_longer(
    pool: Pool, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triggers, "INSTALL", ("SELECT pg_sleep(0.6)", *triggers.INSTALL))
    await setup(pool, timeout_seconds=0.2)
    assert await is_whole(session)


async def test_a_set_up_that_fails_gives_the_lock_back(
    pool: Pool, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triggers, "INSTALL", ("SELECT 1 / 0",))
    with pytest.raises(errors.DivisionByZero):
        await setup(pool)
    monkeypatch.undo()
    await setup(pool, timeout_seconds=0.5)
    assert await is_whole(session)


# Repair


async def kill_a_set_up_that_waits(params: Params, session: Session) -> None:
    """Start a set-up in a process, kill it as soon as it waits, and go on when PostgreSQL has seen that it is gone."""
    process = forks.start(["-c", SET_UP, json.dumps(params)], os.environ, 2)
    try:
        await until(lambda: set_ups(session, waiting=True))
    finally:
        process.kill()
        process.wait()
    await until(lambda: not_any(set_ups(session)))


KILLED = {"by us": False, "after LangGraph took it for done": True}
USUALLY_KILLED = some(KILLED, "after LangGraph took it for done")


@pytest.mark.parametrize("stock_first", USUALLY_KILLED.values(), ids=USUALLY_KILLED)
async def test_an_index_that_was_killed_half_built_is_repaired(
    params: Params, pool: Pool, session: Session, stock_first: bool
) -> None:
    async with connected(params) as blocker, blocker.transaction():
        await blocker.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        await blocker.execute("SELECT 1")
        await kill_a_set_up_that_waits(params, session)
        assert await invalid_indexes(session) == {"checkpoints_thread_id_idx"}
    if stock_first:
        await stock_setup(params)
        assert await invalid_indexes(session) == {"checkpoints_thread_id_idx"}
    await setup(pool, timeout_seconds=5)
    assert await is_whole(session)


async def test_a_set_up_that_was_killed_before_its_triggers_is_finished(
    params: Params, pool: Pool, session: Session
) -> None:
    await stock_setup(params)
    async with connected(params) as blocker, blocker.transaction():
        await blocker.execute("LOCK TABLE checkpoint_writes IN ROW EXCLUSIVE MODE")
        await kill_a_set_up_that_waits(params, session)
        made = await column(session, "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal")
        assert "countersign_checkpoint" in made
        assert "countersign_write" not in made
    await setup(pool, timeout_seconds=5)
    assert await is_whole(session)


async def test_an_index_that_somebody_dropped_is_built(pool: Pool, session: Session) -> None:
    await setup(pool)
    await session.execute("DROP INDEX checkpoint_writes_thread_id_idx")
    await setup(pool)
    assert await is_whole(session)


async def test_a_table_that_is_gone_is_not_made_up(pool: Pool, session: Session) -> None:
    await setup(pool)
    await session.execute("DROP TABLE checkpoint_blobs")
    with pytest.raises(SetupFailed, match="checkpoint_blobs is gone.* DELETE FROM checkpoint_migrations"):
        await setup(pool)
    await session.execute("DELETE FROM checkpoint_migrations")
    await setup(pool)
    assert await is_whole(session)


@asynccontextmanager
async def stuck(params: Params, session: Session, build: Coroutine[Any, Any, Any]) -> AsyncIterator[asyncio.Task[Any]]:
    """Yield something that builds an index and waits, while we are here, for a transaction of ours."""
    async with connected(params) as blocker:
        async with blocker.transaction():
            await blocker.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            await blocker.execute("SELECT 1")
            building = asyncio.create_task(build)
            await until(
                lambda: column(
                    session,
                    "SELECT 1 FROM pg_stat_progress_create_index JOIN pg_stat_activity USING (pid)"
                    " WHERE wait_event_type = 'Lock'",
                )
            )
            yield building
        await asyncio.gather(building, return_exceptions=True)


async def run(params: Params, statement: str) -> None:
    async with connected(params) as builder:
        await builder.execute(statement)


async def test_what_a_killed_reindex_leaves_is_removed(params: Params, pool: Pool, session: Session) -> None:
    await setup(pool)
    for index in ("checkpoints_thread_id_idx", "checkpoints_pkey"):
        async with stuck(params, session, run(params, f"REINDEX INDEX CONCURRENTLY {index}")) as building:
            building.cancel()
            await asyncio.wait([building])
    assert await invalid_indexes(session) == {"checkpoints_thread_id_idx_ccnew", "checkpoints_pkey_ccnew"}
    await setup(pool)
    assert await is_whole(session)


async def test_a_reindex_that_is_under_way_is_left_alone(params: Params, pool: Pool, session: Session) -> None:
    await setup(pool)
    async with stuck(params, session, run(params, "REINDEX INDEX CONCURRENTLY checkpoints_thread_id_idx")) as building:
        await setup(pool, timeout_seconds=0)
        assert await invalid_indexes(session) == {"checkpoints_thread_id_idx_ccnew"}
        assert not building.done()
    assert await is_whole(session)


async def test_an_index_that_somebody_is_building_is_waited_for(params: Params, pool: Pool, session: Session) -> None:
    await stock_setup(params)
    await session.execute("DROP INDEX checkpoints_thread_id_idx")
    async with stuck(params, session, run(params, schema._INDEXES["checkpoints_thread_id_idx"])) as building:
        with pytest.raises(SetupTimeout, match="waited 0.4 s for session"):
            await setup(pool, timeout_seconds=0.4)
        assert not building.done()
        waiting = asyncio.create_task(setup(pool, timeout_seconds=20))
        await until(lambda: set_ups(session))
    await building
    await waiting
    assert await is_whole(session)


async def test_an_index_that_somebody_began_to_build_meanwhile_is_not_dropped(
    params: Params, pool: Pool, session: Session
) -> None:
    await stock_setup(params)
    await session.execute("DROP INDEX checkpoints_thread_id_idx")
    async with stuck(params, session, run(params, schema._INDEXES["checkpoints_thread_id_idx"])) as building:
        async with pool.connection() as worker:
            with pytest.raises(SetupTimeout):
                await schema._repair(worker, Patience(0.2))
    await building
    assert await invalid_indexes(session) == set()


async def test_langgraphs_set_up_is_not_killed_by_ours(params: Params, session: Session) -> None:
    """Two who build on one table wait for each other, and PostgreSQL ends the one that finds out: mostly them.

    Theirs has come to its first index. After that one it may lose a race, as it does against itself: see above.
    """
    await stock_setup(params)
    for index in schema._INDEXES:
        await session.execute(f"DROP INDEX {index}")
    await session.execute("DELETE FROM checkpoint_migrations WHERE v >= %s", [FIRST_INDEX])
    await session.execute(f"ALTER DATABASE {params['dbname']} SET deadlock_timeout = '50ms'")
    async with open_pool(params, max_size=1) as own:
        async with stuck(params, session, run(params, AsyncPostgresSaver.MIGRATIONS[FIRST_INDEX])) as building:
            ours = asyncio.create_task(setup(own, timeout_seconds=20))
            await until(lambda: set_ups(session))
            await asyncio.sleep(0.2)  # past the moment in which ours would have looked for a deadlock
            assert await set_ups(session, waiting=True) == [], "ours stands in no queue behind theirs"
        await building
        await ours
    assert await is_whole(session)


# Rights


async def test_a_role_that_may_not_create_is_told_who_must(params: Params, session: Session, role: str) -> None:
    async with open_pool(params | {"user": role}, max_size=1) as visitors:
        with pytest.raises(SetupFailed, match=f"does not let {role} set up.*permission denied for schema public.*owns"):
            await setup(visitors)
    assert await tables_of(session) == set()


async def test_a_role_that_may_only_use_the_tables_needs_no_more(
    params: Params, pool: Pool, session: Session, role: str
) -> None:
    await setup(pool)
    async with open_pool(params | {"user": role}, max_size=1) as visitors:
        with pytest.raises(SetupFailed, match=r"permission denied for table \w+.*SELECT, INSERT, UPDATE and DELETE"):
            await setup(visitors)
        with pytest.raises(SetupFailed, match="permission denied for table countersign_meta"):
            await schema.cache_secret(visitors)
        await session.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}")
        await setup(visitors)
        assert len(await schema.cache_secret(visitors)) == 32
        await with_saver(graphs.gated, saver_over(visitors)).ainvoke({"text": "x"}, config_for("t"))
        await session.execute("UPDATE countersign_meta SET version = 0")
        with pytest.raises(SetupFailed, match=f"does not let {role} set up.*Let the role that owns them"):
            await setup(visitors)


async def test_a_database_that_only_reads_says_so(params: Params, session: Session) -> None:
    async with open_pool(params | {"options": "-c default_transaction_read_only=on"}, max_size=1) as reader:
        with pytest.raises(SetupFailed, match="cannot execute CREATE TABLE in a read-only transaction"):
            await setup(reader)


# Storage


async def test_large_values_are_stored_as_they_are_where_there_is_no_lz4(pool: Pool, session: Session) -> None:
    await setup(pool)
    async with pool.connection() as connection:
        assert not await schema._has_lz4(connection)  # else this test is of another server than we embed
    await session.execute(
        "INSERT INTO checkpoint_blobs (thread_id, channel, version, type, blob)"
        " VALUES ('t', 'c', '1', 'bytes', convert_to(repeat('state', 60000), 'UTF8'))"
    )
    assert await column(session, "SELECT pg_column_size(blob) - octet_length(blob) FROM checkpoint_blobs") == [0]


async def test_with_lz4_all_large_columns_use_it(params: Params, pool: Pool) -> None:
    await stock_setup(params)
    async with pool.connection() as connection:
        statements = await schema._storage(connection, has_lz4=True)
    assert set(statements) == {
        f"ALTER TABLE {table} ALTER COLUMN {name} SET COMPRESSION lz4"
        for table, name in (
            ("checkpoints", "checkpoint"),
            ("checkpoints", "metadata"),
            ("checkpoint_blobs", "blob"),
            ("checkpoint_writes", "blob"),
        )
    }


async def test_a_storage_that_somebody_has_chosen_is_kept(params: Params, pool: Pool, session: Session) -> None:
    await stock_setup(params)
    await session.execute("ALTER TABLE checkpoint_blobs ALTER COLUMN blob SET COMPRESSION pglz")
    await session.execute("ALTER TABLE checkpoint_writes ALTER COLUMN blob SET STORAGE MAIN")
    await setup(pool)
    chosen = await session.execute(
        "SELECT attstorage::text, attcompression::text FROM pg_attribute WHERE attname = 'blob'"
        " AND attrelid IN ('checkpoint_blobs'::regclass, 'checkpoint_writes'::regclass) ORDER BY attrelid"
    )
    assert await chosen.fetchall() == [("x", "p"), ("m", "")]
