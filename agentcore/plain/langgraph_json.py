"""langgraph.json: the graphs it names and the types it allows. Nothing is imported."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentcore.plain.blocked import ClassName
from agentcore.plain.errors import RegistryError


@dataclass(frozen=True)
class GraphEntry:
    """One graph as langgraph.json names it, before anything is imported."""

    id: str
    module: str
    attribute: str
    allowed_modules: tuple[ClassName, ...] = ()
    problem: str = ""
    """Why it names no graph; the file's other entries may."""

    def __str__(self) -> str:
        if self.problem:
            return f'graph "{self.id}"'
        return f'graph "{self.id}" ({self.module}:{self.attribute})'


def read_entries(path: str | Path) -> list[GraphEntry]:
    """Read langgraph.json and import nothing: safe in a web process.

    Raises RegistryError if the file is broken, or all its entries are.
    """
    content = read_content(Path(path))
    graphs = content.get("graphs")
    if not isinstance(graphs, dict) or not graphs:
        raise RegistryError(f'{path} names no graphs. Add "graphs": {{"my_agent": "./my_agent.py:graph"}}.')
    for_all = _allowed(_serde(content), f'{path}: "checkpointer": "serde"')
    entries = [_entry(graph_id, target, path, for_all) for graph_id, target in graphs.items()]
    if all(entry.problem for entry in entries):
        raise RegistryError(entries[0].problem)
    return entries


_USED = {"$schema", "dependencies", "graphs", "env", "checkpointer", "store"}


def unused_sections(path: str | Path) -> list[str]:
    """Return the sections that LangGraph's own server reads, and Countersign does not."""
    return sorted(read_content(Path(path)).keys() - _USED)


def read_dependencies(path: str | Path) -> list[str]:
    """Return the folders and packages that the project depends on."""
    found = read_content(Path(path)).get("dependencies")
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []


def read_content(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        raise RegistryError(f"There is no {path}. Set LANGGRAPH_JSON to the path of your langgraph.json.") from None
    except UnicodeDecodeError:
        raise RegistryError(f"{path} is not UTF-8 text. Save it as UTF-8.") from None
    try:
        content = json.loads(text, object_pairs_hook=lambda pairs: _unique(pairs, path))
    except json.JSONDecodeError as error:
        raise RegistryError(f"{path} is not JSON: line {error.lineno}: {error.msg}.") from None
    if not isinstance(content, dict):
        raise RegistryError(f'{path} must hold an object with "graphs".')
    return content


def _unique(pairs: list[tuple[str, Any]], path: Path) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    for key, value in pairs:
        if key in seen:
            raise RegistryError(f'{path} has "{key}" twice. Give each graph an id of its own.')
        seen[key] = value
    return seen


def _entry(graph_id: str, target: Any, path: str | Path, for_all: tuple[ClassName, ...]) -> GraphEntry:
    allowed = for_all
    if isinstance(target, Mapping):
        allowed += _allowed(target, f'{path}: graph "{graph_id}"')
        target = target.get("path")
    if not isinstance(target, str) or ":" not in target:
        problem = f'{path}: graph "{graph_id}" must be "./file.py:name" or "package.module:name".'
        return GraphEntry(graph_id, "", "", problem=problem)
    module, _, attribute = target.rpartition(":")
    if not module or not attribute.isidentifier():
        problem = f'{path}: graph "{graph_id}" must be "./file.py:name", but is "{target}".'
        return GraphEntry(graph_id, "", "", problem=problem)
    return GraphEntry(graph_id, module, attribute, allowed)


def _serde(content: Mapping[str, Any]) -> Any:
    checkpointer = content.get("checkpointer") or {}
    return checkpointer.get("serde") if isinstance(checkpointer, Mapping) else checkpointer


def _allowed(section: Any, where: str) -> tuple[ClassName, ...]:
    """Read both of LangGraph's lists. Its JSON list may split module and class at the dots."""
    if section is not None and not isinstance(section, Mapping):
        raise RegistryError(f'{where} must be an object with "allowed_msgpack_modules".')
    listed: list[Any] = []
    for name in ("allowed_msgpack_modules", "allowed_json_modules"):
        found = (section or {}).get(name) or []
        if not isinstance(found, list):
            raise RegistryError(f'{where}: "{name}" must list types one by one, as [["my_agent.models", "Order"]].')
        listed += found
    return tuple(_class_name(item, where) for item in listed)


def _class_name(item: Any, where: str) -> ClassName:
    parts = ".".join(item).split(".") if isinstance(item, list) and all(isinstance(p, str) for p in item) else []
    if len(parts) < 2 or not all(part.isidentifier() for part in parts):
        raise RegistryError(
            f"{where}: {json.dumps(item):.80} names no type."
            ' Type the module and the class, as ["my_agent.models", "Order"].'
        )
    return ".".join(parts[:-1]), parts[-1]
