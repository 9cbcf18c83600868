"""Database URLs as people paste them, and errors that never say the password."""

from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from psycopg.conninfo import make_conninfo

from agentcore.dsn import postgres_params
from agentcore.errors import BadDatabaseUrl

PASSWORD = "hunter2canary"
PLAIN = {"user": "u", "password": "p", "host": "h", "port": "5433", "dbname": "shop"}


@pytest.mark.parametrize(
    "scheme", ["postgresql", "postgres", "postgresql+asyncpg", "postgresql+psycopg2", "postgres+psycopg", "POSTGRESQL"]
)
def test_every_spelling_of_the_scheme_is_taken(scheme: str) -> None:
    assert postgres_params(f"{scheme}://u:p@h:5433/shop") == PLAIN


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
    assert postgres_params(f"postgresql+asyncpg://u:p@h:5433/shop?ssl={written}") == PLAIN | {"sslmode": meant}


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
    assert postgres_params(f"postgresql://u:p@h:5433/shop?{query}") == PLAIN


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


@pytest.mark.parametrize(
    "url",
    [
        f"mysql://u:{PASSWORD}@h/shop",
        f"u:{PASSWORD}@h/shop",
        f"postgresql://u:{PASSWORD}@h:port/shop",
        f"postgresql://u:{PASSWORD}/more@h/shop",
        f"postgresql://u:more/{PASSWORD}@h/shop",
        f"postgresql://u:1234/{PASSWORD}@h/shop",
        f"postgresql://u:{PASSWORD}#more@h/shop",
        f"postgresql://u:1234#{PASSWORD}@h/shop",
        f"postgresql://u:{PASSWORD}?more@h/shop",
        f"postgresql://u:1234?{PASSWORD}=1@h/shop",
        f"postgresql://u:1234?{PASSWORD}@h/shop",
        f"postgresql://u:more@{PASSWORD}@h/shop",
        f"postgresql://u:{PASSWORD}%zz@h/shop",
        f"postgresql://u:{PASSWORD}%00@h/shop",
        f"postgresql://u:{PASSWORD}\0@h/shop",
        f"postgresql://u:{PASSWORD}\udc80@h/shop",
        f"postgresql://u:{PASSWORD}[@h/shop",
        f"postgresql://u:{PASSWORD}]@h/shop",
        f"postgresql://u:{PASSWORD}℀@h/shop",
        f"postgresql://u:{PASSWORD}@[::1/shop",
        f"postgresql://u:{PASSWORD}@h/shop?nonsense=1",
        f"postgresql://u@h/shop?password={PASSWORD}&nonsense=1",
        f"postgresql://u@h/shop?password={PASSWORD}\udc80",
        f"postgresql://u:{PASSWORD}@h/shop?=1",
        f"postgresql://u:{PASSWORD}@h/shop?pool_size",
    ],
    ids=ascii,
)
def test_no_error_repeats_the_password(url: str) -> None:
    with pytest.raises(BadDatabaseUrl) as caught:
        postgres_params(url)
    error = caught.value
    assert PASSWORD not in str(error)
    assert PASSWORD not in repr(error)
    assert error.__suppress_context__ or error.__context__ is None  # a traceback would print the cause


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
