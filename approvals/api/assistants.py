"""Assistants, in the format of the LangGraph SDK: one for each graph that workers have published."""

from datetime import datetime
from typing import Any, Literal

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router
from pydantic import Field

from approvals.api.auth import viewer
from approvals.api.errors import answers
from approvals.api.fields import ApiRecord, Body, JsonObject, PlainList, PlainObject, QueryFilters, Text
from approvals.api.selection import AssistantField, selected
from approvals.domain import assistants
from approvals.errors import NotFound
from approvals.models import Graph

router = Router(tags=["assistants"])
MOST_ASSISTANTS = 1_000
DEEPEST_DRAWN = 20
OF_SYSTEM = {"created_by": "system"}
"""The metadata of each: as LangGraph's server has it for an assistant that it made of a graph."""


class AssistantOut(ApiRecord):
    """A graph as an assistant. It has one version; context and config are given with each run."""

    assistant_id: str
    graph_id: str
    name: str
    description: str | None
    config: PlainObject
    context: PlainObject
    metadata: PlainObject
    version: int
    created_at: datetime
    updated_at: datetime


class DrawnOut(ApiRecord):
    """A graph as LangGraph draws it."""

    nodes: PlainList
    edges: PlainList


class GraphSchemasOut(ApiRecord):
    """The JSON Schemas of a graph; null where its types have none."""

    graph_id: str
    input_schema: PlainObject | None
    output_schema: PlainObject | None
    state_schema: PlainObject | None
    config_schema: PlainObject | None
    context_schema: PlainObject | None


class AssistantFilters(Body):
    metadata: JsonObject | None = None
    graph_id: Text | None = None
    name: Text | None = None

    def found(self) -> list[AssistantOut]:
        graphs = Graph.objects.order_by("pk").defer("card")
        if self.graph_id is not None:
            graphs = graphs.filter(pk=assistants.graph_id_of(self.graph_id))
        if self.name is not None:
            graphs = graphs.filter(pk__icontains=self.name)
        is_wanted = not self.metadata or self.metadata.items() <= OF_SYSTEM.items()
        return [assistant_out(graph) for graph in graphs] if is_wanted else []


class AssistantSearch(AssistantFilters):
    """`name` finds those whose name holds it, in letters of either case."""

    limit: int = Field(10, ge=1, le=MOST_ASSISTANTS)
    offset: int = Field(0, ge=0, le=MOST_ASSISTANTS)
    sort_by: Literal["assistant_id", "graph_id", "name", "created_at", "updated_at"] = "assistant_id"
    sort_order: Literal["asc", "desc"] = "asc"
    select: list[AssistantField] | None = None


class VersionSearch(Body):
    metadata: JsonObject | None = None
    limit: int = Field(10, ge=1, le=MOST_ASSISTANTS)
    offset: int = Field(0, ge=0, le=MOST_ASSISTANTS)


class VersionIn(Body):
    version: int


class DrawnFilters(QueryFilters):
    xray: int | bool = Field(False, description="Open subgraphs: all, or to this depth.")


class SubgraphFilters(QueryFilters):
    recurse: bool = False


@router.post("/assistants/search", response=answers(list[AssistantOut] | list[PlainObject], 413))
def search_assistants(
    request: HttpRequest, response: HttpResponse, asked: AssistantSearch
) -> list[AssistantOut] | list[Any]:
    """Find assistants: one for each graph. The header `X-Pagination-Next` is the offset of the next page, if any."""
    viewer(request)
    found = sorted(asked.found(), key=lambda each: getattr(each, asked.sort_by), reverse=asked.sort_order == "desc")
    end = asked.offset + asked.limit
    response["X-Pagination-Total"] = str(len(found))
    if end < len(found):
        response["X-Pagination-Next"] = str(end)
    page = found[asked.offset : end]
    return selected(page, asked.select) if asked.select else page


@router.post("/assistants/count", response=answers(int, 413))
def count_assistants(request: HttpRequest, asked: AssistantFilters) -> int:
    """Count the assistants that a search with the same filters finds."""
    viewer(request)
    return len(asked.found())


@router.get("/assistants/{part:assistant_id}", response=answers(AssistantOut, 404))
def get_assistant(request: HttpRequest, assistant_id: Text) -> AssistantOut:
    """Read an assistant, by the id of its graph or by the id that LangGraph's server gives it."""
    viewer(request)
    return assistant_out(assistants.graph_of(assistant_id))


@router.get("/assistants/{part:assistant_id}/graph", response=answers(DrawnOut, 404))
def get_assistant_graph(request: HttpRequest, assistant_id: Text, filters: Query[DrawnFilters]) -> DrawnOut:
    """Read the nodes and edges of its graph."""
    viewer(request)
    depth = DEEPEST_DRAWN if filters.xray is True else int(filters.xray)
    return DrawnOut(**assistants.drawn(assistants.graph_of(assistant_id).record, depth=depth))


@router.get("/assistants/{part:assistant_id}/schemas", response=answers(GraphSchemasOut, 404))
def get_assistant_schemas(request: HttpRequest, assistant_id: Text) -> GraphSchemasOut:
    """Read the JSON Schemas of its graph: of input, output, state and context."""
    viewer(request)
    graph = assistants.graph_of(assistant_id)
    return GraphSchemasOut(graph_id=graph.pk, **assistants.schemas_of(graph.record))


@router.get("/assistants/{part:assistant_id}/subgraphs", response=answers(PlainObject, 404))
def get_assistant_subgraphs(request: HttpRequest, assistant_id: Text, filters: Query[SubgraphFilters]) -> PlainObject:
    """Read the schemas of the subgraphs by their namespace; with `recurse`, of those inside them as well."""
    viewer(request)
    return _subgraphs(assistant_id, "", filters.recurse)


@router.get("/assistants/{part:assistant_id}/subgraphs/{part:namespace}", response=answers(PlainObject, 404))
def get_assistant_subgraph(
    request: HttpRequest, assistant_id: Text, namespace: Text, filters: Query[SubgraphFilters]
) -> PlainObject:
    """Read the schemas of one subgraph, by the nodes that lead to it; with `recurse`, of those inside it as well."""
    viewer(request)
    return _subgraphs(assistant_id, namespace, filters.recurse)


@router.post("/assistants/{part:assistant_id}/versions", response=answers(list[AssistantOut], 404, 413))
def list_assistant_versions(request: HttpRequest, assistant_id: Text, asked: VersionSearch) -> list[AssistantOut]:
    """List the versions of an assistant. There is one: that of the code which workers have loaded."""
    viewer(request)
    found = [assistant_out(assistants.graph_of(assistant_id))]
    is_wanted = not asked.metadata or asked.metadata.items() <= OF_SYSTEM.items()
    return found[asked.offset : asked.offset + asked.limit] if is_wanted else []


@router.post("/assistants/{part:assistant_id}/latest", response=answers(AssistantOut, 404, 413))
def set_assistant_version(request: HttpRequest, assistant_id: Text, wanted: VersionIn) -> AssistantOut:
    """Take a version for the latest. Version 1 is, and there is no other."""
    viewer(request)
    found = assistant_out(assistants.graph_of(assistant_id))
    if wanted.version != found.version:
        raise NotFound("An assistant here has version 1 alone: the code of its graph.")
    return found


def assistant_out(graph: Graph) -> AssistantOut:
    return AssistantOut(
        assistant_id=graph.pk,
        graph_id=graph.pk,
        name=graph.pk,
        description=None,
        config={},
        context={},
        metadata=OF_SYSTEM,
        version=1,
        created_at=graph.published_at,
        updated_at=graph.published_at,
    )


def _subgraphs(assistant_id: str, namespace: str, is_deep: bool) -> dict[str, Any]:
    card = assistants.graph_of(assistant_id).record
    found = assistants.subgraphs_of(card, namespace=namespace, is_deep=is_deep)
    return {path: assistants.schemas_of(each) for path, each in found.items()}
