"""Database URLs as people paste them, and errors that never say the password."""

import logging
import os
import traceback
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from psycopg.conninfo import make_conninfo
from redis.connection import parse_url

from agentcore.plain.errors import BadDatabaseUrl, BadRedisUrl
from agentcore.plain.urls import Memory, Postgres, Sqlite, check_redis_url, checkpoint_store, postgres_params
from tests import forks

PASSWORD = "hunter2canary"
PLAIN = {"user": "u", "password": PASSWORD, "host": "h", "port": "5433", "dbname": "shop"}


@pytest.mark.parametrize(
    "scheme", ["postgresql", "postgres", "postgresql+asyncpg", "postgresql+psycopg2", "postgres+psycopg", "POSTGRESQL"]
)
def test_every_spelling_of_the_scheme_is_taken(scheme: str) -> None:
    assert postgres_params(f"{scheme}://u:{PASSWORD}@h:5433/shop") == PLAIN


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("require", "require"),
        ("true", "require"),
        ("True", "require"),
        ("1", "require"),
        ("false", "disable"),
        ("0", "disable"),
        ("verify-full", "verify-full"),
    ],
)
def test_ssl_becomes_sslmode(written: str, meant: str) -> None:
    assert postgres_params(f"postgresql+asyncpg://u:{PASSWORD}@h:5433/shop?ssl={written}") == PLAIN | {"sslmode": meant}


@pytest.mark.parametrize(
    "query",
    [
        "pool_size=5",
        "max_overflow=10&pool_timeout=3&pool_recycle=60",
        "prepared_statement_cache_size=0",
        "pool_size=5&",
    ],
)
def test_options_of_other_libraries_are_dropped(query: str) -> None:
    assert postgres_params(f"postgresql://u:{PASSWORD}@h:5433/shop?{query}") == PLAIN


@pytest.mark.parametrize(
    "url",
    ["postgresql://u@/shop?host=/tmp/a%20socket", "postgresql://u@%2Ftmp%2Fa%20socket/shop"],
)
def test_a_unix_socket_is_a_host(url: str) -> None:
    assert postgres_params(url) == {"user": "u", "host": "/tmp/a socket", "dbname": "shop"}


@pytest.mark.parametrize(
    ("query", "name", "value"),
    [
        ("options=-c%20search_path%3Dshop", "options", "-c search_path=shop"),
        ("application_name=a+b", "application_name", "a+b"),
        ("application_name=a%26b%3D%25", "application_name", "a&b=%"),
        ("user=me@server", "user", "me@server"),
        ("connect_timeout=3", "connect_timeout", "3"),
    ],
)
def test_options_of_postgresql_arrive_as_written(query: str, name: str, value: str) -> None:
    assert postgres_params(f"postgresql://h:5433/shop?{query}")[name] == value


@pytest.mark.parametrize("url", ["postgresql://", "postgresql:///shop", "postgresql://[::1]:5433/shop"])
def test_what_is_left_out_is_left_to_libpq(url: str) -> None:
    assert "user" not in postgres_params(url)


def test_several_hosts_are_kept() -> None:
    found = postgres_params("postgresql://u:p@one:5432,two:5433/shop?target_session_attrs=read-write")
    assert (found["host"], found["port"]) == ("one,two", "5432,5433")


@pytest.mark.parametrize("option", ["foo", "sslMode", "command_timeout"])
def test_an_unknown_option_is_named(option: str) -> None:
    with pytest.raises(BadDatabaseUrl, match=f"does not know: {option}. Remove it") as caught:
        postgres_params(f"postgresql://u:{PASSWORD}@h/shop?{option}=1&connect_timeout=1")
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["", "mysql://u:p@h/shop", "sqlite:///x", "h/shop", "host=h dbname=shop", "postgresqlx://h/s"]
)
def test_another_kind_of_url_says_what_to_type(url: str) -> None:
    with pytest.raises(BadDatabaseUrl, match="Type postgresql://user:password@host:5432/name"):
        postgres_params(url)


# What people paste, with a password in nearly every one: what is meant by it, or the sentence that says why not.
GOOD: list[tuple[str, object]] = [
    (f"postgresql://u:{PASSWORD}@h:5433/shop", PLAIN),
    (f"postgres://u:{PASSWORD}@h:5433/shop", PLAIN),
    (f"postgresql+asyncpg://u:{PASSWORD}@h:5433/shop?pool_size=5", PLAIN),
    (f"postgresql+psycopg://u:{PASSWORD}@h:5433/shop?ssl=true", PLAIN | {"sslmode": "require"}),
    (f"postgresql://u@h:5433/shop?password={PASSWORD}", PLAIN),
    (f"postgresql://u:p%40%2F%3F%23%25{PASSWORD}@h:5433/shop", PLAIN | {"password": f"p@/?#%{PASSWORD}"}),
    (
        f"postgresql://u:{PASSWORD}@one:1,two:2/shop",
        {"host": "one,two", "port": "1,2", "user": "u", "password": PASSWORD, "dbname": "shop"},
    ),
    (f"sqlite:///checkpoints.db?pool_size={PASSWORD}", Sqlite(Path.cwd() / "checkpoints.db")),
    (f"sqlite:////tmp/checkpoints.db?pool_recycle={PASSWORD}", Sqlite(Path("/tmp/checkpoints.db"))),
    (f"sqlite+aiosqlite:///checkpoints.db?max_overflow={PASSWORD}", Sqlite(Path.cwd() / "checkpoints.db")),
    (f"sqlite+pysqlite:////tmp/a%20b%23%25.db?pool_size={PASSWORD}", Sqlite(Path("/tmp/a b#%.db"))),
    (f"SQLITE:///checkpoints.db?pool_timeout={PASSWORD}&", Sqlite(Path.cwd() / "checkpoints.db")),
    ("sqlite:///./tests/../checkpoints.db", Sqlite(Path.cwd() / "tests" / ".." / "checkpoints.db")),
    ("memory://", Memory()),
    (f"redis://:{PASSWORD}@h:6380/3", {"host": "h", "port": 6380, "db": 3, "password": PASSWORD}),
    (f"redis://u:{PASSWORD}@h", {"host": "h", "username": "u", "password": PASSWORD}),
    (
        f"rediss://:{PASSWORD}@h/0?ssl_cert_reqs=none",
        {"host": "h", "db": 0, "password": PASSWORD, "ssl_cert_reqs": "none"},
    ),
    (f"redis://:p%40%2F{PASSWORD}@[::1]:6379/0", {"host": "::1", "port": 6379, "db": 0, "password": f"p@/{PASSWORD}"}),
    (f"unix:///run/redis.sock?db=2&password={PASSWORD}", {"path": "/run/redis.sock", "db": 2, "password": PASSWORD}),
]
FORMS = "Type postgresql://user:password@host:5432/name, or sqlite:///file.db, or memory://."
UNREADABLE = "The database URL cannot be read"
THREE_SLASHES = "A SQLite URL has three slashes and a file, and no user, password or host"
NO_REDIS = "It must look like redis://:password@host:6379/0."
BAD = [
    (f"mysql://u:{PASSWORD}@h/shop", FORMS),
    (f"u:{PASSWORD}@h/shop", FORMS),
    (f"host=h password={PASSWORD}", FORMS),
    (f"postgresqlx://u:{PASSWORD}@h/shop", FORMS),
    (f"sqlite+pysqlcipher://:{PASSWORD}@/file.db", FORMS),
    (f"redis://:{PASSWORD}@h/0 as a checkpoint URL", FORMS),
    (f"postgresql://u:{PASSWORD}@h:port/shop", UNREADABLE),
    (f"postgresql://u:{PASSWORD}/more@h/shop", UNREADABLE),
    (f"postgresql://u:more/{PASSWORD}@h/shop", UNREADABLE),
    (f"postgresql://u:1234/{PASSWORD}@h/shop", UNREADABLE),
    (f"postgresql://u:{PASSWORD}#more@h/shop", UNREADABLE),
    (f"postgresql://u:1234#{PASSWORD}@h/shop", UNREADABLE),
    (f"postgresql://u:{PASSWORD}?more@h/shop", UNREADABLE),
    (f"postgresql://u:1234?{PASSWORD}=1@h/shop", UNREADABLE),
    (f"postgresql://u:1234?{PASSWORD}@h/shop", UNREADABLE),
    (f"postgresql://u:more@{PASSWORD}@h/shop", UNREADABLE),
    (f"postgresql://u:{PASSWORD}%zz@h/shop", UNREADABLE),
    (f"postgresql://u:{PASSWORD}%00@h/shop", UNREADABLE),
    (f"postgresql://u:{PASSWORD}\0@h/shop", UNREADABLE),
    (f"postgresql://u:{PASSWORD}\udc80@h/shop", UNREADABLE),
    (f"postgresql://u:{PASSWORD}[@h/shop", UNREADABLE),
    (f"postgresql://u:{PASSWORD}]@h/shop", UNREADABLE),
    (f"postgresql://u:{PASSWORD}℀@h/shop", UNREADABLE),
    (f"postgresql://u:{PASSWORD}@[::1/shop", UNREADABLE),
    (f"postgresql://u@h/shop?password={PASSWORD}\udc80", UNREADABLE),
    (f"postgresql://u:{PASSWORD}@h/shop?=1", UNREADABLE),
    (f"postgresql://u:{PASSWORD}@h/shop?pool_size", UNREADABLE),
    (f"postgresql://u:{PASSWORD}@h/shop?nonsense=1", "an option that PostgreSQL does not know: nonsense. Remove it."),
    (f"postgresql://u@h/shop?password={PASSWORD}&nonsense=1", "does not know: nonsense"),
    (f"sqlite://?password={PASSWORD}", "Type memory://"),
    (f"sqlite:///:memory:?password={PASSWORD}", "Type memory://"),
    (f"sqlite+aiosqlite:///%3Amemory%3A?key={PASSWORD}", "Type memory://"),
    (f"sqlite://u:{PASSWORD}@:memory:", "Type memory://"),
    (f"sqlite:///file::memory:?cache={PASSWORD}", "Type memory://"),
    (f"memory://u:{PASSWORD}@h", "Type memory://, and nothing after it"),
    (f"memory:///{PASSWORD}", "Type memory://, and nothing after it"),
    (f"memory:?password={PASSWORD}", "Type memory://, and nothing after it"),
    (f"sqlite://u:{PASSWORD}@h/file.db", THREE_SLASHES),
    (f"sqlite:///u:{PASSWORD}@h/file.db", THREE_SLASHES),
    (f"sqlite:///u:{PASSWORD}@file.db", THREE_SLASHES),
    (f"sqlite:///u%3A{PASSWORD}%40file.db", THREE_SLASHES),
    (f"sqlite:file.db?password={PASSWORD}", THREE_SLASHES),
    (f"sqlite:/tmp/file.db?password={PASSWORD}", THREE_SLASHES),
    (f"sqlite://file.db?password={PASSWORD}", THREE_SLASHES),
    (f"sqlite:///file.db#{PASSWORD}", "In the file's name write # as %23"),
    (f"sqlite:///file.db?{PASSWORD}", "In the file's name write # as %23"),
    (f"sqlite:///%ff{PASSWORD}.db", "% as %25"),
    (f"sqlite:///%00{PASSWORD}.db", "% as %25"),
    (f"sqlite:///file.db?password={PASSWORD}", "has an option, and there are none: password. Remove it."),
    (f"sqlite:///file.db?mode=ro&key={PASSWORD}", "there are none: mode"),
    (f"sqlite:///file.db?check_same_thread={PASSWORD}", "there are none: check_same_thread"),
    (f"sqlite:///file.db?{PASSWORD}=1@h", "has an option, and there are none. Remove it."),
    (f"sqlite:////tmp?pool_size={PASSWORD}", "names a folder. Add /checkpoints.db"),
    (f"sqlite:////?pool_size={PASSWORD}", "names a folder"),
    (f"sqlite:////no-such-folder/{PASSWORD}/file.db", "a folder that does not exist"),
    (f"sqlite:////etc/hostname/{PASSWORD}", "a folder that does not exist"),
]
BAD_REDIS = [
    (f"http://:{PASSWORD}@h/0", NO_REDIS),
    (f"redis//:{PASSWORD}@h/0", NO_REDIS),
    (f"redis://:{PASSWORD}@h:abc/0", NO_REDIS),
    (f"redis://:{PASSWORD}@h:99999/0", NO_REDIS),
    (f"redis://:{PASSWORD}@h/first", NO_REDIS),
    (f"redis://:{PASSWORD}/more@h/0", NO_REDIS),
    (f"redis://:12/{PASSWORD}@h/0", NO_REDIS),
    (f"redis://:12#{PASSWORD}@h/0", NO_REDIS),
    (f"redis://:12?{PASSWORD}@h/0", NO_REDIS),
    (f"redis://:12?{PASSWORD}=1@h/0", NO_REDIS),
    (f"redis://:more@{PASSWORD}@h/0", NO_REDIS),
    (f"redis://:{PASSWORD}]@h/0", NO_REDIS),
    (f"redis://:{PASSWORD}@h/0?nonsense=1", "an option that cannot be used: nonsense. Remove it."),
    (f"redis://h/0?password={PASSWORD}&socket_timeout=soon", "cannot be used: socket_timeout"),
    (f"rediss://:{PASSWORD}@h/0?ssl_cert_reqs={PASSWORD}", NO_REDIS),
]


def chain(error: BaseException | None) -> str:
    """Everything that a traceback, or a program that reports errors, could show of an error."""
    if error is None:
        return ""
    shown = f"{error} {error!r} {''.join(traceback.format_exception(error))} {vars(error)}"
    return shown + chain(error.__cause__) + chain(error.__context__)


@pytest.mark.parametrize(("url", "meant"), GOOD, ids=ascii)
def test_what_people_paste_is_taken_as_it_is_meant(url: str, meant: object, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    if url.startswith(("redis", "unix")):
        check_redis_url(url)
        found = parse_url(url)  # type: ignore[no-untyped-call]
        found.pop("connection_class", None)
        assert found == meant
        return
    store = checkpoint_store(url)
    assert (store.params if isinstance(store, Postgres) else store) == meant
    assert PASSWORD not in repr(store)
    assert PASSWORD not in caplog.text


@pytest.mark.parametrize(("url", "told"), [*BAD, *BAD_REDIS], ids=ascii)
def test_what_cannot_be_meant_is_refused_with_a_sentence_that_repeats_no_password(
    url: str, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    check, refusal = (check_redis_url, BadRedisUrl) if (url, told) in BAD_REDIS else (checkpoint_store, BadDatabaseUrl)
    with pytest.raises(refusal) as caught:
        check(url)
    assert told in str(caught.value)
    assert PASSWORD not in chain(caught.value)
    assert PASSWORD not in caplog.text


@pytest.mark.parametrize("url", [url for url, told in BAD if url.startswith("postgresql://")], ids=ascii)
def test_a_database_url_is_refused_as_a_checkpoint_url_is(url: str) -> None:
    with pytest.raises(BadDatabaseUrl) as caught:
        postgres_params(url)
    assert PASSWORD not in chain(caught.value)


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("DATABASE_URL", f"postgresql://u:{PASSWORD}@h:port/shop"),
        ("DATABASE_URL", f"sqlite:///u:{PASSWORD}@h/file.db"),
        ("CHECKPOINT_URL", f"postgresql://u@h/shop?password={PASSWORD}&nonsense=1"),
        ("CHECKPOINT_URL", f"sqlite://u:{PASSWORD}@h/file.db"),
        ("CHECKPOINT_URL", f"memory://u:{PASSWORD}@h"),
        ("REDIS_URL", f"redis://:12/{PASSWORD}@h/0"),
    ],
)
def test_no_command_repeats_the_password_of_its_environment(name: str, url: str) -> None:
    env = {**os.environ, "DATABASE_URL": "postgresql://u@h/shop", name: url}
    done = forks.run(["manage.py", "check"], env=env)
    assert done.returncode == 1
    assert f"{name}: The " in done.stderr or f"{name}: A SQLite" in done.stderr or f"{name}: Checkpoints" in done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


NASTY = st.text(st.one_of(st.sampled_from("@:/?#[]%&=+ \0\\'\"\udc80é"), st.characters()), max_size=12)


@given(before=NASTY, after=NASTY, query=NASTY)
@example(before="", after="/", query="x=1")
@example(before="1?", after="=", query="")
def test_a_pasted_password_is_read_or_refused_but_never_said(before: str, after: str, query: str) -> None:
    try:
        found = postgres_params(f"postgresql://u:{before}{PASSWORD}{after}@h/shop?{query}")
    except BadDatabaseUrl as error:
        assert PASSWORD not in str(error)
    else:
        # What PostgreSQL names when it refuses a connection: none of it may hold a part of the password.
        assert all(PASSWORD not in found.get(name, "") for name in ("host", "port", "dbname", "user"))


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=30))
@example("p@ss/w?rd#%[]:&=+ ")
def test_a_quoted_password_arrives_as_it_is(password: str) -> None:
    found = postgres_params(f"postgresql://u:{quote(password, safe='')}@h/shop")
    assert found == {"user": "u", "password": password, "host": "h", "dbname": "shop"}


def test_the_parameters_open_a_real_connection(database: str) -> None:
    url = database.replace("postgresql://", "postgresql+asyncpg://", 1)
    url += ("&" if "?" in url else "?") + "ssl=disable&pool_size=5&options=-c%20application_name%3Dshop"
    with psycopg.connect(make_conninfo("", **postgres_params(url))) as connection:
        assert connection.execute("SHOW application_name").fetchone() == ("shop",)


def test_the_embedded_url_keeps_its_socket(database: str) -> None:
    assert Path(postgres_params(database)["host"]).is_dir()
