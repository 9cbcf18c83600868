"""Which parts of a state the author of a graph calls secret."""

from collections.abc import Mapping
from typing import Any

from langgraph.pregel import Pregel

from agentcore.graphs.registry import CompiledGraph


def secret_paths(graph: CompiledGraph) -> tuple[str, ...]:
    """Return the paths that the metadata of the graph and its nodes names, subgraphs included."""
    inner = [each for _, each in graph.get_subgraphs(recurse=True) if isinstance(each, Pregel)]
    given = [metadata for each in [graph, *inner] for metadata in _metadata_of(each)]
    return tuple(dict.fromkeys(path for metadata in given for path in _named_in(metadata)))


def _metadata_of(graph: CompiledGraph) -> list[Any]:
    nodes = getattr(getattr(graph, "builder", None), "nodes", {}).values()
    return [*(getattr(node, "metadata", None) for node in nodes), (graph.config or {}).get("metadata")]


def _named_in(metadata: Any) -> list[str]:
    approval = metadata.get("approval") if isinstance(metadata, Mapping) else None
    named = approval.get("secret") if isinstance(approval, Mapping) else None
    return [path for path in named if isinstance(path, str) and path] if isinstance(named, list | tuple) else []
