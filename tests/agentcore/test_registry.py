"""langgraph.json as people write it: each form loads, and each mistake is named with its remedy."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agentcore.graphs.allowlist import allowlists
from agentcore.graphs.registry import load, load_graphs, source_digest
from agentcore.plain.errors import FactoryFailed, OtherGraph, RegistryError
from agentcore.plain.langgraph_json import GraphEntry, read_entries

GRAPH = """
from typing_extensions import TypedDict
from langgraph.graph import START, StateGraph

class State(TypedDict):
    text: str

def node(state: State) -> State:
    return {"text": "%s"}

builder = StateGraph(State)
builder.add_node("node", node)
builder.add_edge(START, "node")
graph = builder.compile(name="compiled")

def make():
    return builder

async def amake():
    import asyncio
    await asyncio.sleep(0)
    return graph

def make_with_config(config):
    return graph if config == {"configurable": {}} else None

def make_with_default(config=None, *args, **kwargs):
    return graph

async def amake_with_config(config):
    return make_with_config(config)

def make_nothing():
    return 7

def make_too_much(config, store):
    return graph

def make_trouble():
    raise LookupError("no model configured")

async def amake_trouble():
    raise LookupError("no model configured")

without_nodes = StateGraph(State)
"""


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Loading puts the project's folder on sys.path, modules in sys.modules and names in os.environ."""
    path, modules, environ = list(sys.path), dict(sys.modules), dict(os.environ)
    yield
    sys.path[:] = path
    for name in sys.modules.keys() - modules.keys():
        del sys.modules[name]
    sys.modules.update(modules)
    os.environ.clear()
    os.environ.update(environ)


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., Path]:
    """Write files and a langgraph.json beside them; return its path."""

    def write(graphs: Any, files: dict[str, str] | None = None, **more: Any) -> Path:
        for name, text in (files or {"shop_agent.py": GRAPH % "shop"}).items():
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        listed = tmp_path / "langgraph.json"
        listed.write_text(graphs if isinstance(graphs, str) else json.dumps({"graphs": graphs, **more}))
        return listed

    return write


Project = Callable[..., Path]


def said_by(graph: Any) -> str:
    return str(graph.invoke({"text": ""})["text"])


@pytest.mark.parametrize(
    "name", ["graph", "builder", "make", "amake", "make_with_config", "make_with_default", "amake_with_config"]
)
@pytest.mark.parametrize("module", ["./shop_agent.py", "shop_agent.py", "shop_agent", "./deep/er/agent.py"])
def test_every_form_of_an_entry_loads_the_graph(project: Project, module: str, name: str) -> None:
    path = project({"shop": f"{module}:{name}"}, {"shop_agent.py": GRAPH % "shop", "deep/er/agent.py": GRAPH % "shop"})
    graphs = load_graphs(path)
    assert list(graphs) == ["shop"]
    assert said_by(graphs["shop"]) == "shop"


async def test_an_async_factory_also_loads_inside_a_running_loop(project: Project) -> None:
    assert said_by(load_graphs(project({"shop": "./shop_agent.py:amake"}))["shop"]) == "shop"


def test_the_object_form_loads_too(project: Project) -> None:
    path = project({"shop": {"path": "./shop_agent.py:graph", "description": "Sells."}})
    assert read_entries(path) == [GraphEntry("shop", "./shop_agent.py", "graph")]
    assert said_by(load_graphs(path)["shop"]) == "shop"


@pytest.mark.parametrize(
    ("target", "named", "remedy"),
    [
        ("./missing.py:graph", "no such file", "relative to langgraph.json"),
        ("./shop_agent.py:grpah", '"grpah"', "Correct the name after the colon"),
        ("./shop_agent.py", '"shop"', "./file.py:name"),
        ("./shop_agent.py:", '"shop"', "./file.py:name"),
        (":graph", '"shop"', "./file.py:name"),
        ("./shop_agent.py:State.graph", '"shop"', "./file.py:name"),
        (7, '"shop"', "./file.py:name"),
        (None, '"shop"', "./file.py:name"),
        ({}, '"shop"', "./file.py:name"),
        ({"path": 7}, '"shop"', "./file.py:name"),
        ("no_such_module_here:graph", "no_such_module_here", "ModuleNotFoundError"),
        ("./shop_agent.py:State", "returned a dict", "Return a compiled graph or a builder"),
        ("./shop_agent.py:__name__", "is a str", "a graph, a builder or a factory"),
        ("./shop_agent.py:make_nothing", "returned a int", "Return a compiled graph or a builder"),
        ("./shop_agent.py:make_too_much", "takes 2", "takes no argument, or the run's config"),
        ("./shop_agent.py:make_trouble", "LookupError", "no model configured"),
        ("./shop_agent.py:amake_trouble", "LookupError", "no model configured"),
        ("./shop_agent.py:without_nodes", "does not compile", "entrypoint"),
        ("builtins:int", "returned a int", "Return a compiled graph or a builder"),
    ],
)
def test_a_bad_entry_is_named_with_its_remedy(project: Project, target: Any, named: str, remedy: str) -> None:
    path = project({"shop": target})
    with pytest.raises(RegistryError) as caught:
        load_graphs(path)
    assert 'graph "shop"' in str(caught.value)
    assert named in str(caught.value)
    assert remedy in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"graphs": {"a": "x:y", "a": "x:z"}}', '"a" twice'),
        ('{"graphs": {}, "graphs": {"a": "x:y"}}', '"graphs" twice'),
        ('{\n"graphs": {,}}', "is not JSON: line 2"),
        ("", "is not JSON: line 1"),
        ("[]", 'must hold an object with "graphs"'),
        ("{}", "names no graphs"),
        ('{"graphs": {}}', "names no graphs"),
        ('{"graphs": ["./a.py:graph"]}', "names no graphs"),
        ('{"graphs": {"a": "./shop_agent.py:graph"}, "env": ["A"]}', '"env" must be'),
        ('{"graphs": {"a": "./shop_agent.py:graph"}, "env": 7}', '"env" must be'),
    ],
)
def test_a_broken_file_says_what_to_change(project: Project, text: str, said: str) -> None:
    path = project(text)
    with pytest.raises(RegistryError) as caught:
        load_graphs(path)
    assert str(path) in str(caught.value)
    assert said in str(caught.value)


def test_a_file_that_is_not_text_is_refused(project: Project) -> None:
    path = project({})
    path.write_bytes(b'{"graphs": {"caf\xe9": "a:b"}}')
    with pytest.raises(RegistryError, match="UTF-8"):
        read_entries(path)


@pytest.mark.parametrize("name", ["langgraph.json", "."])
def test_a_missing_file_names_the_setting(tmp_path: Path, name: str) -> None:
    with pytest.raises(RegistryError, match="LANGGRAPH_JSON"):
        load_graphs(tmp_path / name)


@pytest.mark.parametrize(
    "raising", ["raise ValueError('no key')", "import no_such_package", "1 / 0", "import sys; sys.exit('no key')"]
)
@pytest.mark.parametrize("target", ["./bad.py:graph", "bad:graph", "./an-odd-name.py:graph"])
def test_an_import_that_raises_names_the_entry_and_the_cause(project: Project, raising: str, target: str) -> None:
    path = project({"shop": target}, {"bad.py": raising, "an-odd-name.py": raising})
    with pytest.raises(RegistryError, match='graph "shop".*importing it raised') as caught:
        load_graphs(path)
    assert caught.value.__cause__ is not None


def test_a_bad_entry_is_named_and_stops_no_other(project: Project) -> None:
    files = {"shop_agent.py": GRAPH % "shop", "bad.py": "raise LookupError('no model')"}
    entries = {"bad": "./bad.py:graph", "good": "./shop_agent.py:graph", "worse": "./gone.py:graph", "ts": "./a.ts:g"}
    loaded = load(project(entries, files))
    assert list(loaded.graphs) == ["good"]
    assert list(loaded.broken) == ["bad", "worse", "ts"]
    assert "LookupError: no model" in loaded.broken["bad"]
    assert "no such file" in loaded.broken["worse"]
    assert "JavaScript" in loaded.broken["ts"]


@pytest.mark.parametrize("malformed", ["./src/ok.py", ":graph", "./ok.py:a b", 7, None, {"path": "./ok.py"}])
def test_an_entry_that_names_no_graph_stops_no_other(project: Project, malformed: Any) -> None:
    path = project({"yaml": malformed, "good": "./shop_agent.py:graph"})
    loaded = load(path)
    assert list(loaded.graphs) == list(allowlists(path, loaded.graphs)) == ["good"]
    assert 'graph "yaml" must be "./file.py:name"' in loaded.broken["yaml"]
    with pytest.raises(RegistryError, match='graph "yaml" must be'):
        read_entries(project({"yaml": malformed}))


def test_where_no_graph_loads_the_first_stops_the_start(project: Project) -> None:
    with pytest.raises(RegistryError, match='graph "bad"'):
        load_graphs(project({"bad": "./shop_agent.py:nothing", "worse": "./gone.py:graph"}))


FACTORIES = """
import contextlib
from functools import partial
from langchain_core.runnables import RunnableConfig
from langgraph.runtime import Runtime

closed, ends = [], []

def named(name):
    made = StateGraph(State)
    made.add_node("node", lambda state: {"text": str(name)})
    made.add_edge(START, "node")
    return made.compile(interrupt_before=["node"] if name == "gated" else [])

@contextlib.asynccontextmanager
async def opened():
    yield named("opened")
    closed.append("opened")

@contextlib.contextmanager
def opened_plainly(config: RunnableConfig):
    yield named(config["configurable"]["name"])
    closed.append("plainly")

async def of_config(config: RunnableConfig):
    return named(config["configurable"]["name"])

def of_both(config: RunnableConfig, runtime: Runtime):
    return named([config["configurable"].get("name"), runtime.context])

def of_both_turned(runtime: "Runtime", config: "RunnableConfig"):
    return of_both(config, runtime)

def of_runtime(runtime: Runtime):
    return named(runtime.context)

def of_keyword(*, config: RunnableConfig, more=None):
    return named(config["metadata"].get("name"))

class Maker:
    def __call__(self, config):
        return named(config["configurable"]["name"])

maker = Maker()
of_part = partial(named, "part")
lazy = lambda: named("lazy")
configured = named("configured").with_config(tags=["t"])

def of_gates(config: RunnableConfig):
    return named(config["configurable"]["name"] or "gated")

def of_inner_gates(config: RunnableConfig):
    made = StateGraph(State)
    made.add_node("inner", of_gates(config))
    made.add_edge(START, "inner")
    return made.compile()

def closes_badly(config: RunnableConfig):
    return bad()

@contextlib.asynccontextmanager
async def bad():
    yield named("bad")
    if ends:
        raise RuntimeError("it does not close")
    ends.append("bad")
"""


def _with_factories(project: Project, name: str) -> Any:
    return load(project({"shop": f"./shop_agent.py:{name}"}, {"shop_agent.py": GRAPH % "shop" + FACTORIES}))


@pytest.mark.parametrize("name", ["of_part", "lazy", "configured", "make", "amake"])
def test_what_needs_no_run_is_made_once(project: Project, name: str) -> None:
    assert _with_factories(project, name).factories == {}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("opened", "opened"),
        ("opened_plainly", "ana"),
        ("of_config", "ana"),
        ("of_both", "['ana', 7]"),
        ("of_both_turned", "['ana', 7]"),
        ("of_runtime", "7"),
        ("of_keyword", "meta"),
        ("maker", "ana"),
        ("closes_badly", "bad"),
    ],
)
async def test_a_factory_makes_the_graph_of_each_run(project: Project, name: str, said: str) -> None:
    loaded = _with_factories(project, name)
    config = {"configurable": {"name": "ana"}, "metadata": {"name": "meta"}}
    async with loaded.factories["shop"].opened(config, 7, None) as graph:
        assert said_by(graph) == said
    assert len(sys.modules["shop_agent"].closed) == (2 if name.startswith("opened") else 0), "once to load it"


async def test_a_factory_may_not_leave_out_a_gate(project: Project) -> None:
    factory = _with_factories(project, "of_gates").factories["shop"]
    async with factory.opened({"configurable": {"name": "gated"}}, None, None):
        pass
    with pytest.raises(OtherGraph, match="without the gate at node"):
        async with factory.opened({"configurable": {"name": "ana"}}, None, None):
            raise AssertionError("nothing may run")


async def test_a_factory_may_not_leave_out_a_gate_of_a_subgraph(project: Project) -> None:
    factory = _with_factories(project, "of_inner_gates").factories["shop"]
    with pytest.raises(OtherGraph, match=r"without the gate at inner\|node"):
        async with factory.opened({"configurable": {"name": "ana"}}, None, None):
            raise AssertionError("nothing may run")


async def test_a_factory_that_raises_for_a_run_is_named(project: Project) -> None:
    factory = _with_factories(project, "of_config").factories["shop"]
    with pytest.raises(FactoryFailed, match='graph "shop".*KeyError'):
        async with factory.opened({"configurable": {}}, None, None):
            raise AssertionError("nothing may run")


def test_a_src_layout_needs_no_installation(project: Project) -> None:
    files = {
        "src/shop/__init__.py": "",
        "src/shop/words.py": "word = 'near'",
        "src/shop/graph.py": "from shop.words import word\nfrom .words import word as again\n" + GRAPH % "near",
        "pyproject.toml": "[project]\nname = 'shop'",
    }
    path = project({"shop": "./src/shop/graph.py:graph"}, files, dependencies=["."])
    assert said_by(load_graphs(path)["shop"]) == "near"
    assert sys.modules["shop.graph"].State.__module__ == "shop.graph"


def test_dependencies_follow_the_folder_of_the_file_and_what_is_installed(project: Project, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    before = list(sys.path)
    load_graphs(project({"shop": "./shop_agent.py:graph"}, dependencies=["./two", "langchain_openai", "./one"]))
    assert sys.path == [*before, *(str(tmp_path / name) for name in ("", "two", "one"))]


def test_a_missing_package_says_how_to_install_it(project: Project) -> None:
    files = {"shop_agent.py": "import no_such_package", "pyproject.toml": "[project]"}
    with pytest.raises(RegistryError, match=r"pip install -e \. some-package"):
        load_graphs(project({"shop": "./shop_agent.py:graph"}, files, dependencies=[".", "some-package"]))


def test_sections_that_are_not_used_are_named(project: Project, caplog: pytest.LogCaptureFixture) -> None:
    load_graphs(
        project({"shop": "./shop_agent.py:graph"}, node_version="20", auth={"path": "./a.py:b"}, ui={}, http={})
    )
    assert "auth, http, node_version, ui" in caplog.text


@pytest.mark.parametrize(
    "file", ["json.py", "test.py", "json/agent.py", "email/agent.py", "langgraph/agent.py", "an-odd-name.py", "7.py"]
)
def test_a_file_that_shadows_another_module_is_the_one_loaded(project: Project, file: str) -> None:
    path = project({"shop": f"./{file}:graph"}, {file: GRAPH % file})
    assert said_by(load_graphs(path)["shop"]) == file
    assert json.loads("[1]") == [1]


def test_two_files_of_one_name_stay_apart(project: Project) -> None:
    files = {"one/agent.py": GRAPH % "one", "two/agent.py": GRAPH % "two"}
    graphs = load_graphs(project({"one": "./one/agent.py:graph", "two": "./two/agent.py:graph"}, files))
    assert {name: said_by(graph) for name, graph in graphs.items()} == {"one": "one", "two": "two"}


def test_a_file_may_import_its_neighbour_and_keeps_the_name_the_project_uses(project: Project) -> None:
    files = {
        "pack/neighbour.py": "word = 'near'",
        "pack/agent.py": "from pack.neighbour import word\n" + GRAPH % "near",
    }
    load_graphs(project({"shop": "./pack/agent.py:graph"}, files))
    assert sys.modules["pack.agent"].State.__module__ == "pack.agent"


def test_reading_the_entries_imports_nothing(project: Project, tmp_path: Path) -> None:
    spy = "from pathlib import Path; Path(__file__).with_name('ran').touch(); raise RuntimeError"
    path = project({"a": "./spy.py:graph", "b": "spy:graph", "c": {"path": "spy:make"}}, {"spy.py": spy})
    before = set(sys.modules), list(sys.path), dict(os.environ)
    assert [entry.id for entry in read_entries(path)] == ["a", "b", "c"]
    assert (set(sys.modules), list(sys.path), dict(os.environ)) == before
    assert not (tmp_path / "ran").exists()
    with pytest.raises(RegistryError):
        load_graphs(path)
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("env", [".env", {"SHOP_KEY": "from the file", "SHOP_TAKEN": "no", "SHOP_NUMBER": 7}])
def test_the_env_is_there_at_import_and_what_is_set_wins(
    project: Project, env: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_TAKEN", "mine")
    see = "import os\nseen = [os.environ[name] for name in ('SHOP_KEY', 'SHOP_TAKEN', 'SHOP_NUMBER')]\n"
    lines = "SHOP_KEY='from the file'\nSHOP_TAKEN=no\nSHOP_NUMBER=7\nSHOP_BARE\n"
    files = {"shop_agent.py": see + GRAPH % "shop", ".env": lines}
    load_graphs(project({"shop": "./shop_agent.py:graph"}, files, env=env))
    assert sys.modules["shop_agent"].seen == ["from the file", "mine", "7"]


def test_the_source_digest_changes_with_the_file(project: Project, tmp_path: Path) -> None:
    path = project({"shop": "./shop_agent.py:graph", "same": "shop_agent:graph", "gone": "./gone.py:graph"})
    shop, same, gone = read_entries(path)
    before = source_digest(shop, tmp_path)
    assert len(before) == 64
    assert source_digest(same, tmp_path) == ""  # not imported, so nobody knows its file
    assert source_digest(gone, tmp_path) == ""
    load_graphs(project({"shop": "./shop_agent.py:graph"}))
    assert source_digest(same, tmp_path) == before
    (tmp_path / "shop_agent.py").write_text(GRAPH % "other")
    assert source_digest(shop, tmp_path) != before
