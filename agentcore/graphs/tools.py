"""The tools of a graph, and which of them a run has called."""

from functools import lru_cache
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langgraph.prebuilt import ToolNode
from langgraph.pregel import Pregel
from pydantic import BaseModel

from agentcore.graphs.registry import CompiledGraph
from agentcore.plain import schemas
from agentcore.plain.json import to_plain
from agentcore.plain.types import Call

MOST_CALLS = 500


@lru_cache(maxsize=256)
def tool_schemas(graph: CompiledGraph) -> dict[str, dict[str, Any]]:
    """Return the JSON Schema of each tool's arguments, by name, for all tool nodes, subgraphs included."""
    found = {name: _schema(tool) for name, tool in _tools(graph).items()}
    return {name: schema for name, schema in found.items() if schema}


def tool_names(graph: CompiledGraph) -> tuple[str, ...]:
    """Return the names of the tools of all tool nodes, subgraphs included."""
    return tuple(sorted(_tools(graph)))


def _tools(graph: CompiledGraph) -> dict[str, Any]:
    inner = [each for _, each in graph.get_subgraphs(recurse=True) if isinstance(each, Pregel)]
    nodes = (node.bound for each in [graph, *inner] for node in each.nodes.values())
    return {name: tool for node in nodes if isinstance(node, ToolNode) for name, tool in node.tools_by_name.items()}


def _schema(tool: Any) -> dict[str, Any]:
    """Return the schema of a tool; None if it cannot be made. Its arguments are then edited as they are."""
    schema = tool.tool_call_schema
    try:
        found = schema.model_json_schema() if isinstance(schema, type) and issubclass(schema, BaseModel) else schema
    except Exception:  # noqa: BLE001 - pydantic raises many kinds of errors for types without a JSON Schema
        return {}
    return dict(schemas.with_order(found)) if isinstance(found, dict) else {}


class Watch(BaseCallbackHandler):
    """Records each tool that begins in a run. LangChain reports every tool, whichever node or agent calls it."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def on_tool_start(
        self,
        serialized: dict[str, Any],
        input_str: str,
        *,
        run_id: UUID,
        inputs: dict[str, Any] | None = None,
        tool_call_id: str | None = None,
        **more: Any,
    ) -> None:
        if len(self.calls) < MOST_CALLS:
            name = str((serialized or {}).get("name") or more.get("name") or "")
            self.calls.append(Call(name, to_plain(inputs if inputs is not None else input_str), tool_call_id or ""))
