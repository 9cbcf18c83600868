"""The history of a thread: as few queries and rows for a thousand checkpoints as for ten, and what its pages show."""

import asyncio
import secrets
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import psycopg
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

from agentcore.graphs.snapshots import config_for, with_saver
from agentcore.plain import timeline
from agentcore.plain.tables import PostgresTables
from agentcore.savers.opening import open_checkpointer
from benchmarks.history import fill, rows_read
from tests.approvals.test_fork import approve, finished, forked, read
from tests.console import Console
from tests.graphs import gated
from tests.scale import tries

SIZES = (10, tries(300, full=1_000))
HUGE = {
    "random": secrets.token_hex(tries(2_500_000, full=10_000_000)),
    "repeated": "".join(f"{number:08}{'x' * 92}" for number in range(tries(60_000, full=300_000))),
}
"""Texts that LangGraph keeps in the row of the checkpoint itself; PostgreSQL packs the second: then it is no longer
than what is read for a page."""


@pytest.fixture(scope="module")
def threads(database: str) -> dict[int, str]:
    """Threads of this many checkpoints."""
    made = {size: f"t-{uuid.uuid4()}" for size in SIZES}
    for size, thread_id in made.items():
        asyncio.run(fill(database, thread_id, size))
    return made


@pytest.fixture
def page(console: Console) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=console.url, follow_redirects=True, timeout=30) as client:
        client.get(console.link("root")).raise_for_status()
        yield client


def ids_of(thread_id: str) -> list[str]:
    with connection.cursor() as cursor:
        found = timeline.read_page(PostgresTables(cursor), thread_id, limit=2_000)
    return [moment.checkpoint_id for moment in found]


@contextmanager
def sent() -> Iterator[list[str]]:
    """Yield the statements that psycopg sends: Django knows only of its own."""
    statements: list[str] = []
    execute = psycopg.Cursor.execute

    def noting(cursor: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
        statements.append(str(query))
        return execute(cursor, query, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(psycopg.Cursor, "execute", noting)
        yield statements


def counted(work: Any) -> tuple[int, int]:
    """Return how many queries the checkpoint tables got, and how many of their rows were read."""
    with sent() as statements, rows_read() as rows:
        work()
    asked = [
        statement for statement in statements if "FROM checkpoints" in statement or "JOIN checkpoints" in statement
    ]
    return len(asked), rows.count


def test_a_screen_is_one_query_and_as_many_rows_however_long_the_thread_is(threads: dict[int, str]) -> None:
    def screen(thread_id: str) -> Any:
        with connection.cursor() as cursor:
            return timeline.read_page(PostgresTables(cursor), thread_id, limit=9)

    few, many = (counted(lambda size=size: screen(threads[size])) for size in SIZES)
    assert few == many
    assert many[0] == 1
    assert 9 <= many[1] <= 3 * 9, "an index look-up, a row and its parent, for each of nine"


def test_a_difference_is_one_query_and_as_many_rows_however_long_the_thread_is(threads: dict[int, str]) -> None:
    ids = {size: ids_of(threads[size]) for size in SIZES}

    def difference(size: int) -> Any:
        places = [(threads[size], ids[size][0]), (threads[size], ids[size][8])]
        with connection.cursor() as cursor:
            found = timeline.read_states(PostgresTables(cursor), places)
        changes = timeline.changes(found[places[1]], found[places[0]], ())
        assert [change["channel"] for change in changes] == ["count"]

    few, many = (counted(lambda size=size: difference(size)) for size in SIZES)
    assert few == many
    assert many[0] == 1
    assert many[1] <= 12


def test_the_whole_page_takes_as_many_queries_for_a_long_thread(threads: dict[int, str]) -> None:
    from approvals.actions.threads import history
    from approvals.models import Thread

    def screen(size: int) -> int:
        thread, _ = Thread.objects.get_or_create(pk=threads[size], defaults={"graph_id": "gated"})
        with CaptureQueriesContext(connection) as queries:
            history.page(thread, size=9)
        return len(queries)

    assert screen(SIZES[0]) == screen(SIZES[1]) <= 4


def test_every_page_of_a_long_thread_follows_the_one_before(threads: dict[int, str]) -> None:
    ids, before, seen = ids_of(threads[SIZES[1]]), "", []
    while True:
        with connection.cursor() as cursor:
            found = timeline.read_page(PostgresTables(cursor), threads[SIZES[1]], limit=150, before=before)
        if not found:
            break
        seen += [moment.checkpoint_id for moment in found]
        before = seen[-1]
    assert seen == ids
    assert len(seen) == SIZES[1]


def test_the_timeline_is_the_history_that_langgraph_tells(database: str) -> None:
    from tests.graphs import stepping

    thread_id = f"t-{uuid.uuid4()}"

    async def told() -> list[Any]:
        async with open_checkpointer(database) as saver:
            graph = with_saver(stepping, saver)
            await graph.ainvoke({"text": "x"}, config_for(thread_id), durability="sync")
            return [state async for state in graph.aget_state_history(config_for(thread_id))]

    states = asyncio.run(told())
    with connection.cursor() as cursor:
        moments = timeline.read_page(PostgresTables(cursor), thread_id, limit=100)
        places = [(thread_id, moment.checkpoint_id) for moment in moments]
        kept = timeline.read_states(PostgresTables(cursor), places)
    assert [(each.step, each.source) for each in moments] == [
        (state.metadata["step"], state.metadata["source"]) for state in states
    ]
    assert [each.upcoming for each in moments] == [state.next for state in states]
    assert [each.ran for each in moments[:-1]] == [state.next for state in states[1:]]
    # LangGraph begins a list with an empty one; nothing is stored of it.
    written = [{name: value for name, value in state.values.items() if value != []} for state in states]
    assert [kept[place].values for place in places] == written


def test_who_and_why_are_told_beside_each_step(console: Console, page: httpx.Client) -> None:
    approval = console.pause("gated", {"text": "x"})
    with console.api("alice") as alice:
        ballot = {"verdict": "approve", "seen_digest": approval["digest"], "comment": "Seen the <b>receipt</b>."}
        alice.post(f"/approvals/{approval['id']}/votes", json=ballot).raise_for_status()
    console.run_of(approval["id"])
    new = forked(console, approval["thread_id"], approval["checkpoint_id"])
    told = page.get(f"/threads/{approval['thread_id']}/history/").text
    assert "Approved by alice: “Seen the &lt;b&gt;receipt&lt;/b&gt;.”" in told
    assert f"/approvals/{approval['id']}/" in told
    assert "/audit/" in told
    assert "Input from olga" in told
    assert f"/threads/{new['thread_id']}/" in told, "the fork is told where it was made"
    assert 'class="edge taken"' in told


def test_two_checkpoints_and_two_branches_are_compared(console: Console, page: httpx.Client) -> None:
    approval = finished(console)
    thread_id, gate = approval["thread_id"], approval["checkpoint_id"]
    new = forked(console, thread_id, gate, edits={"text": {"op": "set", "value": "y"}})
    head = read(console, f"/threads/{thread_id}")["checkpoint_id"]
    picked = page.get(f"/threads/{thread_id}/compare/", params={"one": head, "other": gate})
    assert picked.url.params["with"] == gate
    assert 'data-channel="notes"' in picked.text
    assert 'data-channel="text"' in picked.text
    place = f"/threads/{new['thread_id']}/history/{new['checkpoint_id']}/"
    branches = page.get(place, params={"with": f"{thread_id}:{gate}"}).text
    assert 'data-channel="text"' in branches
    assert 'data-channel="notes"' not in branches
    same = page.get(f"/threads/{thread_id}/history/{gate}/", params={"with": gate}).text
    assert "the two states are the same" in same


def test_lineage_is_shown_both_ways(console: Console, page: httpx.Client) -> None:
    origin = console.pause("gated", {"text": "x"})
    new = forked(console, origin["thread_id"], origin["checkpoint_id"])
    again = forked(console, new["thread_id"], origin["checkpoint_id"])
    middle = page.get(f"/threads/{new['thread_id']}/").text
    assert f'id="origin" href="/threads/{origin["thread_id"]}/"' in middle
    assert f'href="/threads/{again["thread_id"]}/"' in middle
    assert f'href="/threads/{new["thread_id"]}/"' in page.get(f"/threads/{origin['thread_id']}/").text


def test_what_is_not_there_has_a_page_that_says_so(console: Console, page: httpx.Client) -> None:
    approval = console.pause("gated", {"text": "x"})
    place = f"/threads/{approval['thread_id']}/history"
    for path in (
        f"{place}/1f0-nothing/",
        f"{place}/{approval['checkpoint_id']}/?with=1f0-nothing",
        f"{place}/1f0/fork/",
    ):
        missing = page.get(path)
        assert (missing.status_code, "no such checkpoint" in missing.text) == (404, True), path
    assert page.get(f"{place}/?before=0").status_code == 200
    assert page.get(f"/threads/{approval['thread_id']}/compare/?one=x").status_code == 422


def test_a_viewer_looks_back_and_neither_forks_nor_replays(console: Console) -> None:
    approval = finished(console)
    place = f"/threads/{approval['thread_id']}/history/{approval['checkpoint_id']}/"
    with httpx.Client(base_url=console.url, follow_redirects=True, timeout=30) as erin:
        erin.get(console.link("erin")).raise_for_status()
        shown = erin.get(place)
        assert shown.status_code == 200
        assert "Only operators and admins fork threads." in shown.text
        assert erin.get(f"{place}fork/").status_code == 403
        assert erin.get(f"{place}replay/").status_code == 403


def test_a_replay_on_its_page_wants_the_id_typed(console: Console, page: httpx.Client) -> None:
    approval = finished(console)
    place = f"/threads/{approval['thread_id']}/history/{approval['checkpoint_id']}/replay/"
    form = {"csrfmiddlewaretoken": page.get(place).text.split('csrfmiddlewaretoken" value="')[1].split('"')[0]}
    wrong = page.post(place, data={**form, "typed_id": "something else"}, headers={"Referer": console.url})
    assert (wrong.status_code, "Nothing was run" in wrong.text) == (422, True)
    page.post(place, data={**form, "typed_id": approval["thread_id"]}, headers={"Referer": console.url})
    anew = console.pending(approval["thread_id"])
    approve(console, anew)


@pytest.mark.parametrize("text", HUGE)
def test_a_huge_text_in_the_row_stays_in_the_database(
    database: str, console: Console, page: httpx.Client, text: str
) -> None:
    thread_id = f"t-{uuid.uuid4()}"
    asyncio.run(run_outside(database, thread_id, {"text": HUGE[text]}))
    console.pending(thread_id)
    newest, middle, oldest = ids_of(thread_id)

    timeline_page = page.get(f"/threads/{thread_id}/history/")
    state_page = page.get(f"/threads/{thread_id}/history/{newest}/")
    same = page.get(f"/threads/{thread_id}/history/{newest}/", params={"with": middle})
    other = page.get(f"/threads/{thread_id}/history/{newest}/", params={"with": oldest})
    answers = [timeline_page, state_page, same, other]
    assert [answer.status_code for answer in answers] == [200] * 4
    assert max(len(answer.content) for answer in answers) < 1_000_000
    assert timeline_page.text.count("Too large to be read here") == 2
    assert "step 1: prepare" in state_page.text.lower()
    for answer in (state_page, other):
        assert str(len(HUGE[text])) in answer.text.replace(",", "")
        assert HUGE[text][:1_000] not in answer.text
    assert "too large" not in same.text, "the text is the same"


async def run_outside(database: str, thread_id: str, input: dict[str, Any]) -> None:
    async with AsyncPostgresSaver.from_conn_string(database) as saver:
        config = {**config_for(thread_id), "metadata": {"graph_id": "gated"}}
        await with_saver(gated, saver).ainvoke(input, config)  # type: ignore[call-overload]


async def test_two_huge_texts_of_one_length_are_told_apart(database: str) -> None:
    ids = [f"t-{uuid.uuid4()}" for _ in range(2)]
    for thread_id, text in zip(ids, "xy", strict=True):
        await run_outside(database, thread_id, {"text": text * 5_000_000})

    def changed() -> list[str]:
        with connection.cursor() as cursor:
            tables = PostgresTables(cursor)
            places = [(each, timeline.read_page(tables, each, limit=1)[0].checkpoint_id) for each in ids]
            kept = timeline.read_states(tables, places)
        return [change["channel"] for change in timeline.changes(kept[places[0]], kept[places[1]], ())]

    assert await asyncio.to_thread(changed) == ["text"]
