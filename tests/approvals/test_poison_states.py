"""Whatever somebody stored: each such thread is listed, opened, decided or refused, and cleaned, and harms no other.

Each is stored for real, past every check: the bytes are put into the checkpoint tables with SQL.
"""

import asyncio
import json
import math
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import ormsgpack
import psycopg
import pytest
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Interrupt
from psycopg.conninfo import make_conninfo

from agentcore.plain.urls import postgres_params
from tests.approvals.test_blocked import pages
from tests.console import Console, wait_for
from tests.crafted import _COPY
from tests.holding import Foreign, agent_holds
from tests.scale import IS_FULL, tries

pytestmark = pytest.mark.timeout(600)
Row = tuple[str, bytes]
SERDE = JsonPlusSerializer(allowed_msgpack_modules=True)
MOST_BYTES = 2_000_000
"""Of a page, whatever it shows."""
MANY_KEYS = tries(120_000, full=1_000_000)
LEAST_DIGITS = tries(32, full=1)
LONG = tries(17_000_000, full=30_000_000)
"""Longer than what is read for a page, and the text than what a worker reads in one piece."""
MANY_QUESTIONS = tries(110, full=1_000)


def packed(value: Any) -> Row:
    return SERDE.dumps_typed(value)


def as_json(text: str) -> Row:
    return "json", text.encode()


def nested(levels: int) -> Row:
    return "msgpack", b"\x91" * levels + b"\xc0"


def keyed(*keys: str) -> Row:
    return packed({key: {key: 1} for key in keys})


VALUES: dict[str, Callable[[], Row]] = {
    # Texts that a database, a page or a spreadsheet trips over.
    "NUL": lambda: packed(["a\0b"]),
    "lone surrogate": lambda: as_json('["a\\ud800b"]'),
    "right-to-left override": lambda: packed({"description": "pay \u202e001 \u2066 \u200b"}),
    "javascript link": lambda: packed({"url": "javascript:alert(1)", "html": "<script>alert(1)</script>"}),
    "template": lambda: packed(["{{7*7}}", "{% debug %}", "${7*7}", "%s%n"]),
    "ANSI escapes": lambda: packed(["\x1b[2J\x1b]0;owned\x07"]),
    "formulas": lambda: packed(["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)"]),
    # Numbers that JSON has no word for.
    "NaN and infinities": lambda: packed([math.nan, math.inf, -math.inf, -0.0, 1e308]),
    "2^53+1": lambda: packed([2**53 + 1, -(2**63), 2**64 - 1]),
    "10^400": lambda: as_json(f"[1{'0' * 400}]"),
    "an integer of 5,000 digits": lambda: as_json(f"[1{'0' * 5_000}]"),
    # Shapes.
    "5,000 deep": lambda: nested(5_000),
    "100,000 deep": lambda: nested(100_000),
    "300 deep": lambda: nested(300),
    "very many keys": lambda: (
        "msgpack",
        ormsgpack.packb({f"{number:0{LEAST_DIGITS}}": number for number in range(MANY_KEYS)}),
    ),
    "odd keys": lambda: keyed("", "__proto__", "__class__", "lc", "__interrupt__", "__overwrite__", "{{7*7}}", "a.b/c"),
    "only __overwrite__": lambda: packed({"__overwrite__": [1]}),
    "lc of a constructor": lambda: as_json('{"lc": 2, "type": "constructor", "id": ["os", "system"], "args": ["x"]}'),
    "keys that are no text": lambda: (
        "msgpack",
        ormsgpack.packb({1: "a", None: "b", 2.5: "c", False: "d"}, option=ormsgpack.OPT_NON_STR_KEYS),
    ),
    # Objects.
    "unknown class": lambda: packed({"a": Foreign(7)}),
    "vanished class": lambda: (
        "msgpack",
        ormsgpack.packb({"a": ormsgpack.Ext(0, ormsgpack.packb(["gone", "Gone", 1]))}),
    ),
    "set, bytes, Decimal, dates and paths": lambda: packed(
        [{1, "a"}, b"\x00\xff", Decimal("1.10"), datetime(2026, 1, 1), Path("/etc/passwd")]
    ),
    # Bytes that are none of LangGraph's.
    "an unknown kind": lambda: ("cbor", b"\xa1"),
    "pickle": lambda: ("pickle", b"cos\nsystem\n(S'true'\ntR."),
    "msgpack that ends early": lambda: ("msgpack", b"\x93\x01"),
    "broken JSON": lambda: as_json('{"a": '),
    "no bytes": lambda: ("msgpack", b""),
    # Sizes.
    "an image of 10 MB": lambda: packed([{"type": "image", "data": "data:image/png;base64," + "iVBORw0K" * 1_250_000}]),
    "bytes of 10 MB": lambda: packed(b"\x89PNG" * 2_500_000),
    "a text of many MB": lambda: packed(["x" * LONG]),
}
CUT = ("very many keys", "an image of 10 MB", "a text of many MB")
"""What is too long for a page; bytes are shown by size and digest whatever they are."""
HEAVY = {*CUT, "5,000 deep", "odd keys"}
"""While these are there others are decided too; FULL=1: while any is."""
STRUCTURES = {
    "missing blob": "DELETE FROM checkpoint_blobs WHERE thread_id = %(new)s AND channel = 'anything'",
    "wrong channel versions": "UPDATE checkpoints SET checkpoint = jsonb_set(checkpoint, '{channel_versions}',"
    """ '{"anything": "zzz", "text": 7, "nobody": null}') WHERE thread_id = %(new)s""",
    "channel versions that are a list": "UPDATE checkpoints SET checkpoint = jsonb_set(checkpoint,"
    " '{channel_versions}', '[1, 2]') WHERE thread_id = %(new)s",
    "a checkpoint that is empty": "UPDATE checkpoints SET checkpoint = '{}' WHERE thread_id = %(new)s",
    "a checkpoint that is a number": "UPDATE checkpoints SET checkpoint = '7' WHERE thread_id = %(new)s",
    "a checkpoint of another version": "UPDATE checkpoints SET checkpoint = jsonb_set(checkpoint, '{v}', '99')"
    " WHERE thread_id = %(new)s",
    "metadata that is a list": "UPDATE checkpoints SET metadata = '[1]' WHERE thread_id = %(new)s",
    "a parent that is itself": "UPDATE checkpoints SET parent_checkpoint_id = checkpoint_id WHERE thread_id = %(new)s",
    "a checkpoint id that is no time": "UPDATE checkpoints SET checkpoint_id = 'zz/../%%00' || checkpoint_id"
    " WHERE thread_id = %(new)s",
}
TRIED = {*VALUES, *STRUCTURES} if IS_FULL else {*VALUES, *STRUCTURES} - {
    "javascript link", "template", "ANSI escapes", "formulas", "2^53+1", "10^400", "100,000 deep", "300 deep",
    "lc of a constructor", "only __overwrite__", "set, bytes, Decimal, dates and paths", "vanished class", "pickle",
    "msgpack that ends early", "no bytes", "bytes of 10 MB", "an image of 10 MB",
    "channel versions that are a list", "a checkpoint that is a number", "a checkpoint of another version",
    "metadata that is a list", "wrong channel versions", "an unknown kind", "a text of many MB", "odd keys",
    "right-to-left override", "a checkpoint id that is no time",
}  # fmt: skip
"""By default one of each sort."""
_VALUE = (
    "UPDATE checkpoint_blobs SET type = %(type)s, blob = %(content)s WHERE thread_id = %(new)s AND channel = 'anything'"
)


class Store:
    """The checkpoint tables, as somebody with a password to them sees them."""

    def __init__(self, url: str) -> None:
        self.model = f"model-{uuid.uuid4()}"
        asyncio.run(agent_holds(url, self.model, {"anything": [1]}))
        self.connection = psycopg.connect(make_conninfo("", **postgres_params(url)), autocommit=True)

    def put(self, query: str, new: str | None = None, **values: Any) -> str:
        """Copy the model, change the copy, return its id."""
        new = new or f"poison-{uuid.uuid4()}"
        with self.connection.transaction():
            for each in (*_COPY, query):
                self.connection.execute(each, {"new": new, "model": self.model, **values})
        return new

    def rows(self, thread_id: str) -> int:
        tables = ("checkpoints", "checkpoint_blobs", "checkpoint_writes", "countersign_heads")
        counts = " UNION ALL ".join(f"SELECT count(*) FROM {table} WHERE thread_id = %(id)s" for table in tables)
        return sum(row[0] for row in self.connection.execute(counts, {"id": thread_id}))


@pytest.fixture(scope="module")
def store(database: str, console: Console) -> Iterator[Store]:
    found = Store(database)
    yield found
    found.connection.close()


@pytest.fixture(scope="module")
def stored(store: Store) -> dict[str, str]:
    """Store all of them at once; return the threads' ids. Each is then listed while the others are there too."""
    values = {name: row() for name, row in VALUES.items() if name in TRIED}
    made = {name: store.put(_VALUE, type=type, content=content) for name, (type, content) in values.items()}
    return made | {name: store.put(query) for name, query in STRUCTURES.items() if name in TRIED}


@pytest.fixture(autouse=True)
def no_traceback(console: Console) -> Iterator[None]:
    """Nothing of it may break the server, whatever status it then answers."""
    before = console.log.stat().st_size
    yield
    with console.log.open() as log:
        log.seek(before)
        written = log.read()
    assert "Traceback" not in written, written[-4_000:]


@pytest.mark.parametrize("name", [name for name in VALUES if name in TRIED])
def test_a_value_that_nobody_expected(console: Console, store: Store, stored: dict[str, str], name: str) -> None:
    go_through(console, store, stored[name], is_cut=name in CUT, has_neighbour=IS_FULL or name in HEAVY)


@pytest.mark.parametrize("name", [name for name in STRUCTURES if name in TRIED])
def test_a_checkpoint_that_is_not_as_it_should_be(
    console: Console, store: Store, stored: dict[str, str], name: str
) -> None:
    go_through(console, store, stored[name], has_neighbour=IS_FULL)


def test_many_questions_at_once(console: Console, store: Store) -> None:
    """Of one task, in one row; one of them has a description that reads backwards."""
    approval = console.pause("asking", {"text": "x"})
    asked = [
        Interrupt(value={"question": f"{number} \u202e?"}, id=uuid.uuid4().hex) for number in range(MANY_QUESTIONS)
    ]
    type, content = packed(asked)
    query = "UPDATE checkpoint_writes SET type = %s, blob = %s WHERE thread_id = %s AND channel = '__interrupt__'"
    assert store.connection.execute(query, [type, content, approval["thread_id"]]).rowcount == 1
    with console.api("alice") as alice:
        pending = {"thread_id": approval["thread_id"], "status": "pending"}

        def all_of_them() -> bool:
            return bool(alice.get("/approvals", params=pending).json()["count"] == MANY_QUESTIONS)

        wait_for(all_of_them, seconds=60, what=f"{MANY_QUESTIONS} approvals")
    with pages(console, "alice") as browser, console.api("root") as root:
        for page in (f"/threads/{approval['thread_id']}/", "/", f"/threads/?q={approval['thread_id']}"):
            assert browser.get(page).status_code == 200
        decide_a_neighbour(console)
        removed = root.request("DELETE", f"/threads/{approval['thread_id']}", json={"reason": "poison"})
        assert removed.json()["approvals"] == MANY_QUESTIONS
    assert store.rows(approval["thread_id"]) == 0


def test_writes_without_a_checkpoint_are_no_thread(console: Console, store: Store) -> None:
    thread_id = store.put("DELETE FROM checkpoints WHERE thread_id = %(new)s")
    with console.api("root") as root, pages(console, "root") as browser:
        assert root.get(f"/threads/{thread_id}/state").status_code == 404
        assert browser.get(f"/threads/{thread_id}/").status_code == 404
        assert root.request("DELETE", f"/threads/{thread_id}", json={"reason": "x"}).status_code in (200, 404)


def test_a_thread_id_of_10_kilobytes_is_left_alone(console: Console, store: Store) -> None:
    thread_id = store.put("SELECT 1", new="x" * 10_000)
    with console.api("root") as root, pages(console, "root") as browser:
        assert root.get(f"/threads/{thread_id}").status_code in (404, 414, 422)
        assert browser.get(f"/threads/{thread_id}/").status_code in (404, 414)
        assert browser.get("/threads/").status_code == 200


def go_through(console: Console, store: Store, thread_id: str, *, has_neighbour: bool, is_cut: bool = False) -> None:
    """Do with the thread what people can do with it; every answer is one that we meant to give."""
    path = f"/threads/{thread_id}"
    with console.api("alice") as alice, console.api("root") as root, pages(console, "alice") as browser:
        thread = wait_for(partial(listed, alice, path), seconds=60, what=f"{thread_id} to be listed")
        json.dumps(thread)
        state, history = alice.get(f"{path}/state"), alice.post(f"{path}/history")
        assert {state.status_code, history.status_code} <= {200, 409}, (state.text[:500], history.text[:500])
        for page in (f"{path}/", f"{path}/history/", f"/threads/?q={thread_id}", "/"):
            shown = browser.get(page)
            assert (shown.status_code, len(shown.content) < MOST_BYTES) == (200, True), (page, len(shown.content))
        for asked in alice.get("/approvals", params={"thread_id": thread_id, "status": "pending"}).json()["items"]:
            assert decide(alice, browser, asked) or not is_cut
        if has_neighbour:
            decide_a_neighbour(console)
        with pages(console, "root") as admin:
            copy = admin.get(f"{path}/force-clean/export/")
            assert copy.status_code == 200
            assert [json.loads(line)["kind"] for line in copy.text.splitlines()][-1] == "end"
            assert admin.get(f"{path}/force-clean/").status_code == 200
        cleaned = root.request("DELETE", path, json={"reason": "poison"})
        assert cleaned.status_code == 200, cleaned.text
        assert alice.get(f"{path}/state").status_code == 410
    assert store.rows(thread_id) == 0


def listed(alice: Any, path: str) -> Any:
    found = alice.get(path)
    assert found.status_code in (200, 404), found.text
    return found.json() if found.status_code == 200 and found.json()["checkpoint_id"] else None


def decide(alice: Any, browser: Any, asked: dict[str, Any]) -> list[str]:
    """Open what is cut or folded, as a person must; then say yes, or read why not. Return what was cut."""
    path = f"/approvals/{asked['id']}"
    shown = alice.get(path).json()
    assert browser.get(f"{path}/").status_code == 200
    assert browser.get(f"{path}/raw/").status_code == 200
    ballot = {"verdict": "approve", "seen_digest": shown["digest"]}
    if shown["cut"]:
        unseen = alice.post(f"{path}/votes", json=ballot)
        assert unseen.status_code == 409
        assert unseen.json()["error"]["code"] == "unopened"
    for part in shown["cut"]:
        whole = browser.get(f"{path}/whole/", params={"part": part})
        assert whole.status_code == 200, whole.text[:500]
        assert len(whole.content) > 100_000 or b'"__type__": "bytes"' in whole.content
    for part in shown["folded"]:
        assert browser.get(f"{path}/whole/", params={"part": part}).status_code == 200
    voted = alice.post(f"{path}/votes", json=ballot)
    assert voted.status_code in (201, 409, 410, 422), voted.text[:500]
    if voted.status_code == 201 and voted.json()["run"]:
        ends = ("finished", "failed", "paused", "superseded")
        wait_for(lambda: alice.get(path).json()["run"]["status"] in ends, seconds=60, what=f"the run of {asked}")
    return list(shown["cut"])


def decide_a_neighbour(console: Console) -> None:
    """Other threads are decided as before."""
    approval = console.pause("gated", {"text": "a neighbour"})
    with console.api("alice") as alice:
        ballot = {"verdict": "approve", "seen_digest": approval["digest"]}
        assert alice.post(f"/approvals/{approval['id']}/votes", json=ballot).status_code == 201
    assert console.run_of(approval["id"])["status"] == "finished"
