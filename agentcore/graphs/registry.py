"""Load the graphs of langgraph.json, in LangGraph's own format.

An entry is `"id": "./file.py:name"`, `"id": "package.module:name"` or `"id": {"path": ...}`. The name is a compiled
graph, a builder, or a factory of either (sync or async, with or without the run's config). Types that checkpoints may
build, beside those the graph declares, are listed under `checkpointer.serde` for all graphs, and in an entry for one.
"""

import asyncio
import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from dotenv import dotenv_values
from langgraph.graph import StateGraph
from langgraph.pregel import Pregel

from agentcore.plain.errors import RegistryError, without_secrets
from agentcore.plain.langgraph_json import GraphEntry, read_content, read_entries

CompiledGraph = Pregel[Any, Any, Any, Any]


def load_graphs(path: str | Path) -> dict[str, CompiledGraph]:
    """Import every graph named in the langgraph.json at `path`; raise RegistryError that names the first bad entry."""
    path = Path(path)
    _load_env(path)
    return {entry.id: _load(entry, path.resolve().parent) for entry in read_entries(path)}


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


def _load(entry: GraphEntry, root: Path) -> CompiledGraph:
    module = _import(entry, root)
    if not hasattr(module, entry.attribute):
        raise RegistryError(
            f'{entry}: there is no "{entry.attribute}" in {entry.module}. Correct the name after the colon.'
        )
    return _compiled(getattr(module, entry.attribute), entry)


def _file_of(entry: GraphEntry, root: Path) -> Path | None:
    is_file = entry.module.endswith(".py") or "/" in entry.module
    return (root / entry.module).resolve() if is_file else None


def _import(entry: GraphEntry, root: Path) -> ModuleType:
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    file = _file_of(entry, root)
    if file is not None and not file.is_file():
        raise RegistryError(f"{entry}: there is no such file. The path is relative to langgraph.json.")
    try:
        return _import_file(file, root) if file else importlib.import_module(entry.module)
    except RegistryError:
        raise
    except (Exception, SystemExit) as error:
        raise RegistryError(f"{entry}: importing it raised {_told(error)}") from error


def _import_file(file: Path, root: Path) -> ModuleType:
    """Import the file under the name that the project itself would use, so that classes in checkpoints have one
    module name.
    """
    if file.is_relative_to(root):
        parts = file.relative_to(root).with_suffix("").parts
        if all(part.isidentifier() for part in parts):
            module = _try_import(".".join(parts))
            if module is not None and module.__file__ and Path(module.__file__).resolve() == file:
                return module
    return _import_by_path(file)


def _try_import(name: str) -> ModuleType | None:
    """Import `name`; None if it does not exist, or if another package has the first part of the name."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            return None
        raise


def _import_by_path(file: Path) -> ModuleType:
    name = f"{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise RegistryError(f"{file} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _compiled(candidate: Any, entry: GraphEntry) -> CompiledGraph:
    if isinstance(candidate, Pregel):
        return candidate
    if isinstance(candidate, StateGraph):
        return _compile(candidate, entry)
    if not callable(candidate):
        raise RegistryError(f"{entry} is a {type(candidate).__name__}, not a graph, a builder or a factory.")
    made = _call_factory(candidate, entry)
    if not isinstance(made, Pregel | StateGraph):
        raise RegistryError(
            f"{entry}: the factory returned a {type(made).__name__}. Return a compiled graph or a builder."
        )
    return _compiled(made, entry)


def _compile(builder: Any, entry: GraphEntry) -> CompiledGraph:
    try:
        graph: CompiledGraph = builder.compile()
    except Exception as error:
        raise RegistryError(f"{entry}: the builder does not compile: {_told(error)}") from error
    return graph


def _call_factory(factory: Any, entry: GraphEntry) -> Any:
    wanted = _required(factory)
    if len(wanted) > 1:
        raise RegistryError(f"{entry}: a factory takes no argument, or the run's config; this one takes {len(wanted)}.")
    try:
        made = factory(*([{"configurable": {}}] if wanted else []))
        return _awaited(made) if inspect.isawaitable(made) else made
    except Exception as error:
        raise RegistryError(f"{entry}: the factory raised {_told(error)}") from error


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {without_secrets(str(error))}"


def _required(factory: Any) -> list[inspect.Parameter]:
    try:
        parameters = inspect.signature(factory).parameters.values()
    except ValueError:  # some classes of C have none
        return []
    return [p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def _awaited(awaitable: Any) -> Any:
    """Run an async factory in an event loop of its own: graphs are loaded before, and sometimes inside, the server's
    loop.
    """
    result: list[Any] = []
    problem: list[BaseException] = []

    async def make() -> None:
        result.append(await awaitable)

    def run() -> None:
        try:
            asyncio.run(make())
        except BaseException as error:  # noqa: BLE001 - carried to the caller's thread
            problem.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if problem:
        raise problem[0]
    return result[0]
