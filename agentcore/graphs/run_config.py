"""The config and context of a run, as LangGraph's server gives them to nodes and factories."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from typing_extensions import get_type_hints

from agentcore.graphs.registry import CompiledGraph


class RunIdentity(dict[str, Any]):
    """Who gave the run its input: a mapping, and an object with `identity`, as the server's own user is."""

    @property
    def identity(self) -> str:
        return str(self["identity"])

    @property
    def display_name(self) -> str:
        return self.identity

    @property
    def is_authenticated(self) -> bool:
        return True

    @property
    def permissions(self) -> list[str]:
        return []


def configurable_of(
    given: Mapping[str, Any], *, thread_id: str, run_id: str, graph_id: str, user: str
) -> dict[str, Any]:
    """Return `configurable`: what a client gave, and what the console knows, which nobody can give otherwise.

    An assistant is a graph, as each graph has one.
    """
    own: dict[str, Any] = {"thread_id": thread_id, "run_id": run_id, "graph_id": graph_id, "assistant_id": graph_id}
    if user:
        own |= {
            "langgraph_auth_user": RunIdentity(identity=user, display_name=user, is_authenticated=True, permissions=[]),
            "langgraph_auth_user_id": user,
            "langgraph_auth_permissions": [],
        }
    return {**given, **own}


def context_of(graph: CompiledGraph, context: Mapping[str, Any] | None, configurable: Mapping[str, Any]) -> Any:
    """Return the context of a run: what was given, else what `configurable` has of its schema, with its defaults.

    None where the graph has no schema, and where the schema needs what nobody gave: so does LangGraph.
    """
    schema = graph.context_schema
    if context or schema is None:
        return dict(context) if context else None
    known = {name: configurable[name] for name in _fields(schema) if name in configurable}
    if not (isinstance(schema, type) and (issubclass(schema, BaseModel) or dataclasses.is_dataclass(schema))):
        return known or None
    try:
        schema(**known)
    except Exception:  # noqa: BLE001 - the author's own class may raise anything
        return known or None
    return known


def _fields(schema: Any) -> list[str]:
    try:
        return list(get_type_hints(schema))
    except Exception:  # noqa: BLE001 - evaluating annotations can raise anything
        return []
