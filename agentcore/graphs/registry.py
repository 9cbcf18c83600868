"""Load the graphs of langgraph.json, in LangGraph's own format.

An entry is `"id": "./file.py:name"`, `"id": "package.module:name"` or `"id": {"path": ...}`. The name is a compiled
graph, a builder, or a factory of either: see `factories`. An entry that cannot be loaded is broken, and stops no other.
Types that checkpoints may build, beside those the graph declares, are listed under `checkpointer.serde` for all graphs,
and in an entry for one.
"""

import hashlib
import importlib
import importlib.util
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import ModuleType

from dotenv import dotenv_values
from langgraph.graph import StateGraph
from langgraph.pregel import Pregel

from agentcore.graphs import factories
from agentcore.graphs.factories import CompiledGraph, GraphFactory
from agentcore.plain.errors import RegistryError
from agentcore.plain.langgraph_json import GraphEntry, read_content, read_dependencies, read_entries, unused_sections

logger = logging.getLogger(__name__)

__all__ = ["CompiledGraph", "LoadedGraphs", "import_by_path", "load", "load_graphs", "source_digest"]
_SCRIPTS = (".ts", ".tsx", ".mts", ".cts", ".js", ".jsx", ".mjs", ".cjs")


@dataclass(frozen=True)
class LoadedGraphs:
    """What langgraph.json comes to. `factories` are those that make a graph of each run's own."""

    graphs: dict[str, CompiledGraph] = field(default_factory=dict)
    factories: dict[str, GraphFactory] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    """A sentence for each graph that cannot be loaded."""


def load_graphs(path: str | Path) -> dict[str, CompiledGraph]:
    """Import the graphs named in the langgraph.json at `path` and return those that can be loaded.

    Raises RegistryError if the file is broken, or no graph of it can be loaded.
    """
    return load(path).graphs


def load(path: str | Path) -> LoadedGraphs:
    """Import every graph named in the langgraph.json at `path`. Raises RegistryError as `load_graphs` does."""
    path = Path(path)
    _load_env(path)
    entries, loaded = read_entries(path), LoadedGraphs()
    project = _Project(path.resolve().parent, read_dependencies(path))
    if unused := unused_sections(path):
        logger.warning("langgraph.json: what stands under %s is not used here", ", ".join(unused))
    # At the end: a module of the project takes the place of no installed one, as under LangGraph's server.
    sys.path.extend(str(base) for base in project.bases if str(base) not in sys.path)
    problems: list[RegistryError] = []
    for entry in entries:
        try:
            _load(entry, project, loaded)
        except RegistryError as error:
            loaded.broken[entry.id] = str(error)
            problems.append(error)
    if not loaded.graphs:
        raise problems[0]
    for problem in problems:
        logger.error("%s", problem)
    return loaded


@dataclass(frozen=True)
class _Project:
    """The folder of langgraph.json, and what it depends on: folders and packages."""

    root: Path
    dependencies: Sequence[str]

    @cached_property
    def bases(self) -> list[Path]:
        """The folders that modules are looked for in: its own, then its dependencies, in their order.

        A `src` folder without `__init__.py` holds packages, and follows the folder that it is in.
        """
        folders = [self.root, *((self.root / name).resolve() for name in self.dependencies)]
        return list(dict.fromkeys(each for folder in folders if folder.is_dir() for each in _with_source(folder)))

    @property
    def hint(self) -> str:
        """How its dependencies are installed, where it names some."""
        files = ("pyproject.toml", "setup.py")
        own = [name for name in self.dependencies if any((self.root / name / file).is_file() for file in files)]
        packages = [name for name in self.dependencies if not (self.root / name).is_dir()]
        wanted = [*(f"-e {name}" for name in own), *packages]
        return f". Install what it needs beside Countersign: pip install {' '.join(wanted)}" if wanted else ""


def _with_source(folder: Path) -> Iterator[Path]:
    yield folder
    if (folder / "src").is_dir() and not (folder / "src" / "__init__.py").exists():
        yield folder / "src"


def source_digest(entry: GraphEntry, root: Path) -> str:
    """Return the SHA-256 of the file that defines the graph, so that people see when the code of a card changed."""
    file = _file_of(entry, root)
    if file is None:
        module = sys.modules.get(entry.module)
        file = Path(module.__file__) if module and module.__file__ else None
    return hashlib.sha256(file.read_bytes()).hexdigest() if file and file.exists() else ""


def _load_env(path: Path) -> None:
    """Apply the `env` of langgraph.json, a file or an object. Variables that are set already win."""
    env = read_content(path).get("env")
    if isinstance(env, str):
        if not (path.parent / env).is_file():
            raise RegistryError(f'{path}: "env" names {env}, and there is no such file. The path is relative to it.')
        env = dotenv_values(path.parent / env)
    if env is not None and not isinstance(env, Mapping):
        raise RegistryError(f'{path}: "env" must be the path of a file, or an object of names and values.')
    for name, value in (env or {}).items():
        if value is not None:
            os.environ.setdefault(name, str(value))


def _load(entry: GraphEntry, project: _Project, loaded: LoadedGraphs) -> None:
    """Add the graph of an entry to what is loaded."""
    if entry.problem:
        raise RegistryError(entry.problem)
    module = _import(entry, project)
    if not hasattr(module, entry.attribute):
        raise RegistryError(
            f'{entry}: there is no "{entry.attribute}" in {entry.module}. Correct the name after the colon.'
        )
    found = getattr(module, entry.attribute)
    if isinstance(found, Pregel | StateGraph):
        loaded.graphs[entry.id] = factories.compiled(found, entry)
        return
    if not callable(found):
        raise RegistryError(f"{entry} is a {type(found).__name__}, not a graph, a builder or a factory.")
    graph, is_once = factories.load(found, entry)
    loaded.graphs[entry.id] = graph
    if not is_once:
        loaded.factories[entry.id] = GraphFactory(entry, found, graph)


def _file_of(entry: GraphEntry, root: Path) -> Path | None:
    is_file = entry.module.endswith(".py") or "/" in entry.module
    return (root / entry.module).resolve() if is_file else None


def _import(entry: GraphEntry, project: _Project) -> ModuleType:
    if entry.module.endswith(_SCRIPTS):
        raise RegistryError(f"{entry}: this is a graph in JavaScript, which Countersign does not run. It runs Python.")
    file = _file_of(entry, project.root)
    if file is not None and not file.is_file():
        raise RegistryError(f"{entry}: there is no such file. The path is relative to langgraph.json.")
    try:
        return _import_file(file, project.bases) if file else importlib.import_module(entry.module)
    except RegistryError:
        raise
    except (Exception, SystemExit) as error:
        hint = project.hint if isinstance(error, ModuleNotFoundError) else ""
        raise RegistryError(f"{entry}: importing it raised {factories.told(error)}{hint}") from error


def _import_file(file: Path, bases: Sequence[Path]) -> ModuleType:
    """Import the file under the name that the project itself would use, so that classes in checkpoints have one
    module name.
    """
    for base in sorted(bases, key=lambda base: len(base.parts), reverse=True):
        parts = file.relative_to(base).with_suffix("").parts if file.is_relative_to(base) else ()
        if parts and all(part.isidentifier() for part in parts):
            module = _try_import(".".join(parts))
            if module is not None and module.__file__ and Path(module.__file__).resolve() == file:
                return module
    return import_by_path(file)


def _try_import(name: str) -> ModuleType | None:
    """Import `name`; None if it does not exist, or if another package has the first part of the name."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            return None
        raise


def import_by_path(file: Path) -> ModuleType:
    """Import a file that has no name as a module of the project."""
    name = f"{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise RegistryError(f"{file} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
