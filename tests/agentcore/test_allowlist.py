"""A graph's own types are allowed because it declares them; any other because its author lists it."""

import dataclasses
import enum
import json
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, NotRequired, Optional, TypeVar

import pytest
from langchain_core.messages import AnyMessage
from langgraph.func import entrypoint
from langgraph.graph import START, StateGraph
from langgraph.types import Send
from pydantic import BaseModel
from typing_extensions import TypeAliasType, TypedDict

from agentcore.graphs.allowlist import allowlists, declared_types
from agentcore.graphs.registry import load_graphs
from agentcore.plain.errors import RegistryError
from agentcore.plain.langgraph_json import read_entries
from agentcore.savers.serializers import strict_serializer


class Colour(enum.Enum):
    RED = "red"


class Place(NamedTuple):
    street: str
    colour: "Colour"


@dataclasses.dataclass
class Item:
    place: Optional["Place"]
    again: "list[Item]"


class Order(BaseModel):
    items: Sequence[Item]


class Other(BaseModel):
    text: str


class Reply(BaseModel):
    text: str


class Setting(BaseModel):
    text: str


class Does:
    """Not made to hold data: building one may do anything."""

    other: Other

    def __init__(self, command: str) -> None:
        raise AssertionError(command)


class Nested(TypedDict):
    item: NotRequired[Item]


T = TypeVar("T", bound=Other)
Named = NewType("Named", Order)
Alias = TypeAliasType("Alias", dict[str, Place])


class Box(Generic[T]):
    pass


def merge(one: Any, two: Any) -> Any:
    return two


def names(graph: Any) -> set[str]:
    return {name for module, name in declared_types(graph) if module == __name__}


def graph_of(annotation: Any, **schemas: Any) -> Any:
    class State(TypedDict):
        value: annotation

    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State, **schemas)
    builder.add_node("node", lambda state: {})
    builder.add_edge(START, "node")
    return builder.compile()


@pytest.mark.parametrize(
    ("annotation", "found"),
    [
        (int, set()),
        (Any, set()),
        (Colour, {"Colour"}),
        (Place, {"Place", "Colour"}),
        (Item, {"Item", "Place", "Colour"}),
        (Order, {"Order", "Item", "Place", "Colour"}),
        (Named, {"Order", "Item", "Place", "Colour"}),
        (Alias, {"Place", "Colour"}),
        (Annotated[list[Colour], merge], {"Colour"}),
        (dict[str, Annotated[str, Other]], set()),
        (Mapping[str, Iterator[Colour | None]], {"Colour"}),
        (tuple[Colour, ...], {"Colour"}),
        (OrderedDict[str, Other], {"Other"}),
        (Callable[[Colour], Other], {"Colour", "Other"}),
        (Nested, {"Item", "Place", "Colour"}),
        (Box[Other], {"Other"}),
        (T, {"Other"}),
        (Literal["red"], set()),
        (Does, set()),
        (subprocess.Popen, set()),
        (type[Does], set()),
    ],
)
def test_the_types_in_an_annotation_are_found(annotation: Any, found: set[str]) -> None:
    assert names(graph_of(annotation)) == found
    assert not any(module == "subprocess" for module, _ in declared_types(graph_of(annotation)))


def test_every_schema_of_a_graph_counts() -> None:
    class Input(TypedDict):
        other: Other

    class Output(TypedDict):
        place: Place

    class Private(TypedDict):
        reply: Reply

    @dataclasses.dataclass
    class Context:
        setting: Setting

    builder = StateGraph(Input, context_schema=Context, input_schema=Input, output_schema=Output)
    builder.add_node("node", lambda state: {}, input_schema=Private)
    builder.add_conditional_edges(START, lambda state: [Send("node", {})], ["node"])
    assert {"Other", "Place", "Colour", "Reply", "Setting"} <= names(builder.compile())


def test_a_state_that_is_a_model_is_found_with_its_fields() -> None:
    builder = StateGraph(Order)
    builder.add_node("node", lambda state: {})
    builder.add_edge(START, "node")
    assert names(builder.compile()) == {"Order", "Item", "Place", "Colour"}


def test_the_functional_api_declares_by_its_signature() -> None:
    @entrypoint()
    def flow(order: Other) -> Reply:
        return Reply(text=order.text)

    assert names(flow) == {"Other", "Reply"}


def test_subgraphs_count_and_those_inside_them() -> None:
    inner = graph_of(Reply)
    middle: StateGraph[Any, Any, Any, Any] = StateGraph(Nested)
    middle.add_node("inner", inner)
    middle.add_edge(START, "inner")
    outer: StateGraph[Any, Any, Any, Any] = StateGraph(TypedDict("outer", {"text": str}))  # type: ignore[operator]
    outer.add_node("middle", middle.compile())
    outer.add_edge(START, "middle")
    assert names(outer.compile()) == {"Reply", "Item", "Place", "Colour"}


def test_messages_need_no_list() -> None:
    assert {module.split(".")[0] for module, _ in declared_types(graph_of(list[AnyMessage]))} == {"langchain_core"}


def test_an_annotation_that_cannot_be_read_costs_only_itself(caplog: pytest.LogCaptureFixture) -> None:
    @dataclasses.dataclass
    class Forward:
        unknown: "NotImportedHere"  # type: ignore[name-defined]  # noqa: F821

    class State(TypedDict):
        forward: Forward
        other: Other

    builder = StateGraph(State)
    builder.add_node("node", lambda state: {})
    builder.add_edge(START, "node")
    with caplog.at_level("INFO"):
        assert {"Forward", "Other"} <= names(builder.compile())
    assert "Forward cannot be read (NameError)" in caplog.text


# What the author lists

GRAPH = """
import dataclasses
from typing import Any
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

@dataclasses.dataclass
class Listed:
    text: str

@dataclasses.dataclass
class Declared:
    text: str

def function():
    pass

class State(TypedDict):
    anything: Any
    declared: Declared

class Bare(TypedDict):
    text: str

def make(schema):
    builder = StateGraph(schema)
    builder.add_node("node", lambda state: {})
    builder.add_edge(START, "node")
    return builder.compile()

one, two = make(State), make(Bare)
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    def write(entry: Any = "./listing.py:one", **content: Any) -> Path:
        (tmp_path / "listing.py").write_text(GRAPH)
        path = tmp_path / "langgraph.json"
        path.write_text(json.dumps({"graphs": {"one": entry, "two": "./listing.py:two"}} | content))
        return path

    monkeypatch.syspath_prepend(str(tmp_path))
    yield write
    sys.modules.pop("listing", None)


def allowed(path: Path) -> dict[str, set[tuple[str, str]]]:
    return {name: set(types) for name, types in allowlists(path, load_graphs(path)).items()}


DECLARED, LISTED = ("listing", "Declared"), ("listing", "Listed")


def test_a_graph_without_a_list_has_what_it_declares(project: Callable[..., Path]) -> None:
    assert allowed(project()) == {"one": {DECLARED}, "two": set()}


@pytest.mark.parametrize("name", ["allowed_msgpack_modules", "allowed_json_modules"])
def test_langgraphs_own_list_is_for_all_graphs(project: Callable[..., Path], name: str) -> None:
    path = project(checkpointer={"ttl": {}, "serde": {name: [["listing", "Listed"]], "pickle_fallback": True}})
    assert allowed(path) == {"one": {DECLARED, LISTED}, "two": {LISTED}}


def test_the_list_of_an_entry_is_for_that_graph(project: Callable[..., Path]) -> None:
    path = project({"path": "./listing.py:one", "allowed_msgpack_modules": [["listing", "Listed"]]})
    assert allowed(path) == {"one": {DECLARED, LISTED}, "two": set()}


@pytest.mark.parametrize("serde", [None, {}, {"allowed_msgpack_modules": None, "allowed_json_modules": False}])
def test_an_empty_list_allows_nothing(project: Callable[..., Path], serde: Any) -> None:
    assert allowed(project(checkpointer={"serde": serde})) == {"one": {DECLARED}, "two": set()}


def test_modules_may_be_split_at_the_dots(project: Callable[..., Path]) -> None:
    path = project(checkpointer={"serde": {"allowed_json_modules": [["xml", "dom", "minidom", "Document"]]}})
    assert read_entries(path)[0].allowed_modules == (("xml.dom.minidom", "Document"),)


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (True, "must list types one by one"),
        ("listing.Listed", "must list types one by one"),
        ({"listing": "Listed"}, "must list types one by one"),
        (["listing.Listed"], '"listing.Listed" names no type'),
        ([["Listed"]], '["Listed"] names no type'),
        ([[]], "[] names no type"),
        ([["listing", 7]], '["listing", 7] names no type'),
        ([["listing", "*"]], '["listing", "*"] names no type'),
        ([["", "Listed"]], '["", "Listed"] names no type'),
    ],
    ids=repr,
)
def test_a_bad_entry_is_refused_by_name_before_anything_is_imported(
    project: Callable[..., Path], bad: Any, told: str
) -> None:
    for content in ({"checkpointer": {"serde": {"allowed_msgpack_modules": bad}}}, {}):
        entry = "./listing.py:one" if content else {"path": "./listing.py:one", "allowed_msgpack_modules": bad}
        with pytest.raises(RegistryError) as refused:
            read_entries(project(entry, **content))
        assert told in str(refused.value)
        assert '["my_agent.models", "Order"]' in str(refused.value)
        assert ('"checkpointer": "serde"' if content else 'graph "one"') in str(refused.value)
    assert "listing" not in sys.modules


@pytest.mark.parametrize("checkpointer", [[], {"serde": []}, {"serde": "strict"}, "strict"], ids=repr)
def test_a_section_of_another_shape_is_refused(project: Callable[..., Path], checkpointer: Any) -> None:
    path = project(checkpointer=checkpointer)
    if not checkpointer:
        assert read_entries(path)[0].allowed_modules == ()
        return
    with pytest.raises(RegistryError, match="must be an object"):
        read_entries(path)


@pytest.mark.parametrize("name", ["Missing", "function", "State.anything"])
@pytest.mark.parametrize("module", ["listing", "nowhere"])
def test_a_type_that_is_not_there_stops_the_start(project: Callable[..., Path], module: str, name: str) -> None:
    path = project({"path": "./listing.py:one", "allowed_msgpack_modules": [[module, name]]})
    with pytest.raises(RegistryError, match='graph "one".*there is no such class. Correct the name, or remove it'):
        allowed(path)


_T = TypeVar("_T")


class _Crate(BaseModel, Generic[_T]):
    item: _T


def test_a_declared_generic_is_built() -> None:
    class Cargo(TypedDict):
        crate: _Crate[int]

    builder = StateGraph(Cargo)
    builder.add_node("node", lambda state: {})
    builder.add_edge(START, "node")
    strict = strict_serializer(declared_types(builder.compile()))
    made = _Crate[int](item=3)
    assert strict.loads_typed(strict.dumps_typed(made)) == made
