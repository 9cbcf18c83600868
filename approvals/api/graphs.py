"""The graphs that workers have published."""

from datetime import datetime

from django.http import HttpRequest
from ninja import Router
from pydantic import Field

from approvals.actions.workers.presence import broken_graphs
from approvals.api.auth import viewer
from approvals.api.errors import answers
from approvals.api.fields import ApiRecord, PlainObject
from approvals.models import Graph

router = Router(tags=["graphs"])


class NodeOut(ApiRecord):
    """`gate` says where the graph stops for people: `before` the node, `after` it, or not at all."""

    id: str
    title: str
    description: str
    gate: str | None
    approval: PlainObject


class EdgeOut(ApiRecord):
    source: str
    target: str
    conditional: bool


class ChannelOut(ApiRecord):
    """One field of the state. `is_reducer`: values are merged in, so an edit says append or replace."""

    name: str
    type: str
    is_reducer: bool
    schema_: PlainObject = Field(alias="schema")


class GraphOut(ApiRecord):
    """The card of a graph. `input_schema` is null when the graph's types have none; `input_schema_problem` says why.

    `agent` is the name that `create_agent` was given, `tools` those of its tool nodes.
    """

    id: str
    nodes: list[NodeOut]
    edges: list[EdgeOut]
    channels: list[ChannelOut]
    input_schema: PlainObject | None
    input_schema_problem: str
    code_digest: str
    agent: str = ""
    tools: list[str] = []
    context_schema: PlainObject | None = None
    published_at: datetime


class BrokenGraphOut(ApiRecord):
    """A graph of langgraph.json that a worker could not load, and why."""

    id: str
    problem: str


@router.get("/graphs", response=answers(list[GraphOut]), by_alias=True)
def list_graphs(request: HttpRequest) -> list[GraphOut]:
    """List the graphs that workers can run, by id."""
    viewer(request)
    return [GraphOut(**graph.card, published_at=graph.published_at) for graph in Graph.objects.order_by("pk")]


@router.get("/graphs/broken", response=answers(list[BrokenGraphOut]))
def list_broken_graphs(request: HttpRequest) -> list[BrokenGraphOut]:
    """List the graphs that workers could not load, each with a sentence that says why. They stop no other graph."""
    viewer(request)
    return [BrokenGraphOut(id=graph_id, problem=told) for graph_id, told in broken_graphs().items()]
