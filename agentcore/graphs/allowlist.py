"""The types that a graph's checkpoints may build: those that its schemas and channels declare, and those that its
author lists.
"""

import dataclasses
import enum
import importlib
import logging
import sys
from collections.abc import Iterable, Iterator, Mapping
from inspect import isclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin

from typing_extensions import TypeAliasType, get_type_hints, is_typeddict

from agentcore.graphs.registry import CompiledGraph
from agentcore.plain.blocked import ClassName
from agentcore.plain.errors import RegistryError
from agentcore.plain.langgraph_json import GraphEntry, read_entries

logger = logging.getLogger(__name__)

Allowlist = frozenset[ClassName]


def allowlists(path: str | Path, graphs: Mapping[str, CompiledGraph]) -> dict[str, Allowlist]:
    """Return the types that each loaded graph may build. Raises RegistryError, which names the first bad entry."""
    entries = {entry.id: entry for entry in read_entries(path)}
    return {name: declared_types(graph) | _listed(entries[name]) for name, graph in graphs.items()}


def declared_types(graph: CompiledGraph) -> Allowlist:
    """Return the data classes in the annotations of a graph and its subgraphs, for `allowed_modules`."""
    seen: list[Any] = []
    for each in (graph, *(subgraph for _, subgraph in graph.get_subgraphs(recurse=True))):
        for annotation in _annotations(each):
            _collect(annotation, seen)
    declared = [found for found in seen if _holds_data(found)]
    for found in declared:
        _make_importable(found)
    return frozenset((found.__module__, found.__name__) for found in declared)


def _make_importable(found: type) -> None:
    """Put `Box[int]` where a checkpoint names it: pydantic does so only for one that is written outside a class."""
    module = sys.modules.get(found.__module__)
    if "[" in found.__name__ and module is not None and not hasattr(module, found.__name__):
        setattr(module, found.__name__, found)


def _listed(entry: GraphEntry) -> Allowlist:
    for module, name in entry.allowed_modules:
        if not isclass(_found(module, name)):
            raise RegistryError(
                f'{entry}: its list of allowed types names ["{module}", "{name}"], and there is no such class.'
                " Correct the name, or remove it."
            )
    return frozenset(entry.allowed_modules)


def _found(module: str, name: str) -> Any:
    try:
        return getattr(importlib.import_module(module), name, None)
    except Exception:  # noqa: BLE001 - a module may raise anything while it is imported
        return None


def _annotations(graph: Any) -> Iterator[Any]:
    builder = getattr(graph, "builder", None)
    yield from getattr(builder, "schemas", ())
    yield getattr(graph, "context_schema", None)
    for channel in getattr(graph, "channels", {}).values():
        yield getattr(channel, "ValueType", None)
        yield getattr(channel, "UpdateType", None)


def _collect(annotation: Any, seen: list[Any]) -> None:
    """Add the annotation, and everything inside it, to `seen`."""
    if any(annotation is known for known in seen):
        return
    seen.append(annotation)
    for inner in _inside(annotation):
        _collect(inner, seen)


def _inside(annotation: Any) -> Iterable[Any]:
    if get_origin(annotation) is Annotated:
        return get_args(annotation)[:1]
    if isinstance(annotation, TypeAliasType):
        return [annotation.__value__]
    if isinstance(annotation, TypeVar):
        return [annotation.__bound__, *annotation.__constraints__]
    if hasattr(annotation, "__supertype__"):  # NewType
        return [annotation.__supertype__]
    if isinstance(annotation, list):  # the arguments of a Callable
        return annotation
    return [get_origin(annotation), *get_args(annotation), *_hints(annotation).values()]


def _hints(annotation: Any) -> dict[str, Any]:
    if not is_typeddict(annotation) and not _holds_data(annotation):
        return {}
    try:
        return get_type_hints(annotation)
    except Exception as error:  # noqa: BLE001 - evaluating annotations can raise anything
        logger.info("the annotations of %s cannot be read (%s)", annotation.__qualname__, type(error).__name__)
        return {}


def _holds_data(found: Any) -> bool:
    """Return whether the class is made to hold data.

    A class that acts, such as Popen, is not allowed by being mentioned.
    """
    if not isclass(found):
        return False
    is_model = hasattr(found, "model_fields") or hasattr(found, "__fields__")
    is_record = dataclasses.is_dataclass(found) or issubclass(found, tuple) and hasattr(found, "_fields")
    return is_model or is_record or issubclass(found, enum.Enum)
