"""One file, one process, one saver; and what is written is written whole."""

import asyncio
import os
import signal
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import aiosqlite
import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from agentcore.graphs.snapshots import config_for, with_saver
from agentcore.plain import sqlite_tables
from agentcore.plain.errors import CheckpointsElsewhere, FileUnusable, UnsafeSerializer
from agentcore.savers.serializers import strict_serializer
from agentcore.savers.sqlite import SqliteSaver, open_sqlite
from tests import forks, graphs
from tests.agentcore.test_serde import Parcel

pytestmark = pytest.mark.slow
HOLD = """
import asyncio, os, sys, time
from pathlib import Path
from agentcore.savers.serializers import strict_serializer
from agentcore.savers.sqlite import open_sqlite

async def main():
    async with open_sqlite(Path(sys.argv[1]), strict_serializer()):
        print("open", flush=True)
        if "keep it" in sys.argv:
            time.sleep(60)

if "as nobody" in sys.argv and os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    asyncio.run(main())
except Exception as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints.db"


@pytest.fixture
async def saver(file: Path) -> AsyncIterator[SqliteSaver]:
    async with open_sqlite(file, strict_serializer()) as opened:
        yield opened


@contextmanager
def held_elsewhere(file: Path) -> Iterator[forks.Forked | subprocess.Popen[bytes]]:
    """Another process that has the file open."""
    reading, writing = os.pipe()
    with open(reading, "rb") as told:
        process = forks.start(["-c", HOLD, str(file), "keep it"], os.environ, writing)
        os.close(writing)
        assert told.readline() == b"open\n"
        yield process
        process.kill()
        process.wait(timeout=10)


def opened_elsewhere(file: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """What another process is told that opens the file and closes it."""
    return forks.run(["-c", HOLD, str(file), *options])


async def opens(file: Path) -> bool:
    async with open_sqlite(file, strict_serializer()):
        return True


async def test_another_process_is_refused_until_the_first_is_killed(file: Path) -> None:
    with held_elsewhere(file) as holder:
        with pytest.raises(CheckpointsElsewhere) as refused:
            await opens(file)
        assert f"Process {holder.pid} has {file} open" in str(refused.value)
        assert "Stop it first, or keep the checkpoints in PostgreSQL" in str(refused.value)
        with pytest.raises(CheckpointsElsewhere), sqlite_tables.open_tables(file):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait(timeout=10)
        assert await opens(file)


async def test_a_second_saver_in_one_process_is_refused_until_the_first_is_closed(file: Path) -> None:
    async with open_sqlite(file, strict_serializer()):
        with pytest.raises(CheckpointsElsewhere, match="This process has .* open already"):
            await opens(file)
    assert await opens(file)


@pytest.mark.parametrize("again", ["a refused saver", "tables", "a hold"])
async def test_whatever_else_this_process_does_with_the_file_the_others_stay_out(
    saver: SqliteSaver, file: Path, again: str
) -> None:
    """The system drops the lock of a process with the first of its handles that is closed."""
    if again == "tables":
        with sqlite_tables.open_tables(file) as tables:
            assert tables.is_set_up()
    elif again == "a hold":
        with sqlite_tables.hold(file):
            pass
    else:
        with pytest.raises(CheckpointsElsewhere):
            await opens(file)
    refused = opened_elsewhere(file)
    assert refused.returncode == 1
    assert f"CheckpointsElsewhere: Process {os.getpid()} has {file} open" in refused.stderr


@pytest.mark.parametrize("name", ["link.db", "folder/checkpoints.db", "real/../folder/checkpoints.db"])
async def test_other_names_of_a_file_are_the_same_file(tmp_path: Path, name: str) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "link.db").symlink_to(real / "checkpoints.db")  # before there is one
    (tmp_path / "folder").symlink_to(real)
    async with open_sqlite(tmp_path / name, strict_serializer()):
        with pytest.raises(CheckpointsElsewhere):
            await opens(real / "checkpoints.db")
        assert opened_elsewhere(real / "checkpoints.db").returncode == 1
    assert sorted(each.name for each in real.iterdir()) == ["checkpoints.db", "checkpoints.db.lock"]


def test_a_lock_file_that_was_left_behind_keeps_nobody_out(file: Path) -> None:
    Path(f"{file}.lock").write_text("1")
    assert asyncio.run(opens(file))


async def test_a_refused_process_that_cannot_know_the_pid_says_so(file: Path) -> None:
    with held_elsewhere(file):
        os.truncate(f"{file}.lock", 0)
        with pytest.raises(CheckpointsElsewhere, match="Another process has"):
            await opens(file)


def test_a_file_that_is_no_database_is_refused_and_left_alone(file: Path) -> None:
    file.write_text("Dear diary, " * 100)
    with pytest.raises(FileUnusable, match=f"{file} is not a SQLite database. Name another file"):
        asyncio.run(opens(file))
    with pytest.raises(FileUnusable, match="is not a SQLite database"), sqlite_tables.open_tables(file) as tables:
        tables.is_set_up()
    assert file.read_text().startswith("Dear diary")


def test_a_folder_that_may_not_be_written_is_said(data_dir: Path) -> None:
    """As somebody who is not root: root may write everywhere."""
    folder = data_dir / "read-only"
    folder.mkdir(mode=0o555)
    refused = opened_elsewhere(folder / "checkpoints.db", "as nobody")
    assert refused.returncode == 1
    assert "FileUnusable: " in refused.stderr
    assert "Make the file and its folder writable." in refused.stderr


def test_a_folder_that_is_gone_is_said_and_not_made_again(tmp_path: Path) -> None:
    with pytest.raises(FileUnusable, match="has no folder to be in"):
        asyncio.run(opens(tmp_path / "gone" / "checkpoints.db"))
    assert list(tmp_path.iterdir()) == []


def test_tables_of_a_file_that_is_not_there_make_none(file: Path) -> None:
    with pytest.raises(FileUnusable, match="cannot be opened"), sqlite_tables.open_tables(file):
        pass
    assert not file.exists()


def test_tables_before_the_set_up_are_said_to_be_missing(file: Path) -> None:
    file.touch()
    with sqlite_tables.open_tables(file) as tables:
        assert not tables.is_set_up()
    with pytest.raises(FileUnusable, match="no such table: checkpoints"), sqlite_tables.open_tables(file) as tables:
        tables.read_head("t")


async def stop_writes(saver: AsyncSqliteSaver, file: Path) -> int:
    """Stop writes at one moment after another; count how often the file was left locked."""
    left_locked = 0
    with closing(sqlite3.connect(file, timeout=0, isolation_level=None)) as other:
        for number in range(60):
            writing = asyncio.create_task(
                saver.aput_writes(config_for("t", "1"), [("__interrupt__", number)], f"{number}")
            )
            for _ in range(number % 20):
                await asyncio.sleep(0)
            writing.cancel()
            await asyncio.wait([writing])
            await saver.aget_tuple(config_for("t"))  # behind whatever was still going on
            try:
                other.execute("BEGIN IMMEDIATE")
                other.execute("ROLLBACK")
            except sqlite3.OperationalError:
                left_locked += 1
    return left_locked


async def test_a_run_that_is_stopped_while_it_writes_leaves_the_file_to_the_others(
    saver: SqliteSaver, file: Path
) -> None:
    assert await stop_writes(saver, file) == 0


async def test_the_library_alone_leaves_the_file_locked(file: Path) -> None:
    """The reason for our own class; when this fails, it can go."""
    async with aiosqlite.connect(file) as connection:
        plain = AsyncSqliteSaver(connection)
        await plain.setup()
        assert await stop_writes(plain, file) > 0


async def test_a_write_that_fails_half_way_leaves_nothing(saver: SqliteSaver, file: Path) -> None:
    writes = [("__interrupt__", "first"), ("\udc80", "no text that SQLite can store")]
    with pytest.raises(UnicodeEncodeError):
        await saver.aput_writes(config_for("t", "1"), writes, "task")
    await saver.aput_writes(config_for("other", "1"), [("__interrupt__", "whole")], "task")
    with closing(sqlite3.connect(file)) as other:
        assert other.execute("SELECT thread_id FROM writes").fetchall() == [("other",)]


async def test_closing_waits_for_a_write_whose_run_was_stopped(file: Path) -> None:
    async with open_sqlite(file, strict_serializer()) as saver:
        writing = asyncio.create_task(saver.aput_writes(config_for("t", "1"), [("__interrupt__", 1)], "task"))
        await asyncio.sleep(0)
        writing.cancel()
    with closing(sqlite3.connect(file)) as other:
        assert other.execute("SELECT count(*) FROM writes").fetchone() == (1,)


async def test_many_runs_share_one_file(saver: SqliteSaver) -> None:
    async def run(number: int) -> list[str]:
        bound = with_saver(graphs.asking, saver)
        await bound.ainvoke({"text": str(number)}, config_for(f"t-{number}"))
        [waiting] = (await bound.aget_state(config_for(f"t-{number}"))).interrupts
        return [waiting.value["for"]]

    assert await asyncio.gather(*map(run, range(20))) == [[str(number)] for number in range(20)]


async def test_a_class_from_a_checkpoint_is_not_built(file: Path) -> None:
    """Someone else wrote the row with LangGraph's permissive default; reading it here builds nothing."""
    checkpoint = empty_checkpoint()
    checkpoint["channel_values"], checkpoint["channel_versions"] = {"words": [Parcel(1.0, set())]}, {"words": "1"}
    async with aiosqlite.connect(file) as connection:
        writer = AsyncSqliteSaver(connection, serde=JsonPlusSerializer(allowed_msgpack_modules=True))
        await writer.aput(config_for("t"), checkpoint, {}, {"words": "1"})
        await writer.aput_writes(config_for("t", checkpoint["id"]), [("words", Parcel(2.0, set()))], "task")
        assert "Parcel" in str(await writer.aget_tuple(config_for("t")))
    async with open_sqlite(file, strict_serializer()) as saver:
        found = await saver.aget_tuple(config_for("t"))
        listed = [each async for each in saver.alist(config_for("t"))]
        assert found is not None
        assert "Parcel" not in str((found, listed))
        assert saver.jsonplus_serde is saver.serde


async def test_a_serializer_that_builds_anything_is_refused(file: Path) -> None:
    with pytest.raises(UnsafeSerializer):
        async with open_sqlite(file, JsonPlusSerializer(allowed_msgpack_modules=True)):
            pass
