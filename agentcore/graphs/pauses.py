"""The pauses of a thread: a graph and a snapshot of it, read by the dialects."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter

from agentcore import dialects
from agentcore.graphs import cards, tools
from agentcore.graphs.registry import CompiledGraph
from agentcore.graphs.subgraphs import graph_at
from agentcore.plain import schemas
from agentcore.plain.types import Pause, Snapshot


def pauses_at(graph: CompiledGraph, snapshot: Snapshot) -> list[Pause]:
    """Return one pause for each question the thread waits on; see `dialects.read`."""
    return dialects.read(_CompiledFacts(graph), snapshot)


@dataclass(frozen=True)
class _CompiledFacts:
    """What dialects ask of a graph, from the graph itself."""

    graph: CompiledGraph

    def approval_metadata(self, node: str) -> dict[str, Any]:
        return cards.approval_metadata(self.graph, node)

    def tool_schemas(self) -> dict[str, dict[str, Any]]:
        return tools.tool_schemas(self.graph)

    def input_schema(self, node: str) -> dict[str, Any] | None:
        return _schema_of_input(self.graph, node)

    def at(self, namespace: str) -> "_CompiledFacts":
        return _CompiledFacts(graph_at(self.graph, namespace) or self.graph)


@lru_cache(maxsize=512)
def _schema_of_input(graph: CompiledGraph, node: str) -> dict[str, Any] | None:
    """Return the JSON Schema of the node's input from its signature; None where that cannot be made."""
    found = getattr(getattr(graph, "builder", None), "nodes", {}).get(node)
    try:
        schema = TypeAdapter(found.input_schema).json_schema() if found else None
    except Exception:  # noqa: BLE001 - pydantic raises many kinds of errors for types without a JSON Schema
        return None
    return schemas.with_order(schema) if schema and schema.get("properties") else None
