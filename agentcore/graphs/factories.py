"""Factories of graphs, as LangGraph's server takes them: called anew for each run, with its config and its runtime.

A factory is a function, sync or async, or a context manager of either kind. It takes nothing, the run's config, its
runtime, or both: told by the parameter's annotation, or by its name. One that needs no argument and opens nothing is
called once.
"""

import asyncio
import inspect
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from langgraph.graph import StateGraph
from langgraph.pregel import Pregel
from langgraph.runtime import Runtime
from langgraph.store.base import BaseStore

from agentcore.plain.errors import FactoryFailed, OtherGraph, RegistryError, without_secrets
from agentcore.plain.langgraph_json import GraphEntry

logger = logging.getLogger(__name__)

CompiledGraph = Pregel[Any, Any, Any, Any]


class _LenientConfig(dict[str, Any]):
    """A config before there is a run: equal to an empty one, and without a KeyError for what a run would bring."""

    def __missing__(self, key: str) -> Any:
        return {"metadata": {}, "tags": []}.get(key)


@dataclass(frozen=True)
class GraphFactory:
    """A factory, and the graph that it made when it was loaded: all others have its nodes and stop where it stops."""

    entry: GraphEntry
    call: Callable[..., Any]
    graph: CompiledGraph
    """Read threads with this one; it may have been closed."""

    @asynccontextmanager
    async def opened(
        self, config: Mapping[str, Any], context: Any, store: BaseStore | None
    ) -> AsyncIterator[CompiledGraph]:
        """Yield the graph of one run. Raises FactoryFailed, and OtherGraph if it is not the one that people know.

        What it raises when it is closed is logged: the run is over.
        """
        async with AsyncExitStack() as closing:
            yield await self._made(closing, dict(config), Runtime(context=context, store=store))
            try:
                await closing.aclose()
            except Exception as error:  # noqa: BLE001 - the author's code may raise anything
                logger.warning("%s: closing the factory raised %s", self.entry, told(error))

    async def _made(self, closing: AsyncExitStack, config: dict[str, Any], runtime: "Runtime[Any]") -> CompiledGraph:
        try:
            made = await closing.enter_async_context(_opened(_called(self.call, config, runtime)))
            graph = compiled(made, self.entry)
        except (Exception, SystemExit) as error:
            raise FactoryFailed(f"{self.entry}: the factory raised {told(error)}") from error
        _check_same(graph, self.graph, self.entry)
        return graph


def is_called_once(call: Callable[..., Any], made: Any) -> bool:
    """Return whether what a factory made is the graph of all runs."""
    return not _arguments_of(call) and not isinstance(made, AbstractAsyncContextManager | AbstractContextManager)


def load(call: Callable[..., Any], entry: GraphEntry) -> tuple[CompiledGraph, bool]:
    """Return what the factory makes without a run, and whether it is called once. Raises RegistryError."""
    unknown = _unknown(call)
    if unknown:
        raise RegistryError(
            f"{entry}: a factory takes no argument, or the run's config and runtime; this one takes"
            f" {len(_needed(call))}: {', '.join(unknown)}."
        )
    runtime: Runtime[Any] = Runtime()
    try:
        found: tuple[CompiledGraph, bool] = _in_a_loop_of_its_own(lambda: _load(call, runtime, entry))
        return found
    except RegistryError:
        raise
    except (Exception, SystemExit) as error:
        raise RegistryError(f"{entry}: the factory raised {told(error)}") from error


async def _load(call: Callable[..., Any], runtime: "Runtime[Any]", entry: GraphEntry) -> tuple[CompiledGraph, bool]:
    config = _LenientConfig(configurable=_LenientConfig())
    made = _called(call, config, runtime)
    is_once = is_called_once(call, made)
    async with _opened(made) as found:
        return compiled(found, entry), is_once


@asynccontextmanager
async def _opened(made: Any) -> AsyncIterator[Any]:
    """Yield what a factory made, once it is awaited or entered."""
    found = await made if isinstance(made, Awaitable) else made
    if isinstance(found, AbstractAsyncContextManager) and not isinstance(found, Pregel):
        async with found as inside:
            yield inside
    elif isinstance(found, AbstractContextManager) and not isinstance(found, Pregel):
        with found as inside:
            yield inside
    else:
        yield found


def compiled(found: Any, entry: GraphEntry) -> CompiledGraph:
    """Return a graph, or what a builder compiles to. Raises RegistryError."""
    if isinstance(found, Pregel):
        return found
    if not isinstance(found, StateGraph):
        raise RegistryError(
            f"{entry}: the factory returned a {type(found).__name__}. Return a compiled graph or a builder."
        )
    try:
        graph: CompiledGraph = found.compile()
    except Exception as error:
        raise RegistryError(f"{entry}: the builder does not compile: {told(error)}") from error
    return graph


def _check_same(graph: CompiledGraph, known: CompiledGraph, entry: GraphEntry) -> None:
    """People decide about the graph on its card: its nodes, and each place where it or a subgraph stops."""
    nodes, wanted = _nodes_and_gates(graph), _nodes_and_gates(known)
    if nodes.keys() != wanted.keys():
        raise OtherGraph(f"{entry}: for this run the factory made a graph with other nodes. Nothing was run.")
    if missing := sorted(name for name, gates in wanted.items() if not gates <= nodes[name]):
        raise OtherGraph(f"{entry}: for this run the factory made a graph without the gate at {', '.join(missing)}.")


def _nodes_and_gates(graph: CompiledGraph) -> dict[str, set[str]]:
    """Return where the graph stops at each node, those of subgraphs included: `before` it, `after` it, or not."""
    inner = [(f"{name}|", each) for name, each in graph.get_subgraphs(recurse=True) if isinstance(each, Pregel)]
    found: dict[str, set[str]] = {}
    for path, each in [("", graph), *inner]:
        stops = {"before": each.interrupt_before_nodes, "after": each.interrupt_after_nodes}
        for name in each.nodes:
            if not name.startswith("__"):
                found[path + name] = {when for when, names in stops.items() if names == "*" or name in (names or ())}
    return found


def _called(call: Callable[..., Any], config: Any, runtime: "Runtime[Any]") -> Any:
    given = {"config": config, "runtime": runtime}
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for parameter, kind in _arguments_of(call):
        if parameter.kind is parameter.KEYWORD_ONLY:
            named[parameter.name] = given[kind]
        else:
            positional.append(given[kind])
    return call(*positional, **named)


def _arguments_of(call: Callable[..., Any]) -> list[tuple[inspect.Parameter, str]]:
    """Return the parameters that are given something, in their order, each with `config` or `runtime`."""
    found: list[tuple[inspect.Parameter, str]] = []
    for parameter in _parameters(call):
        kind = _kind_of(parameter)
        if not kind and parameter.default is not parameter.empty:
            if parameter.kind is not parameter.KEYWORD_ONLY:
                break  # what follows by position would be shifted
            continue
        found.append((parameter, kind or "config"))
    return found


def _kind_of(parameter: inspect.Parameter) -> str:
    annotation = str(parameter.annotation)
    if "RunnableConfig" in annotation or parameter.name == "config":
        return "config"
    return "runtime" if "Runtime" in annotation or parameter.name == "runtime" else ""


def _needed(call: Callable[..., Any]) -> list[inspect.Parameter]:
    return [parameter for parameter in _parameters(call) if parameter.default is parameter.empty]


def _unknown(call: Callable[..., Any]) -> list[str]:
    """Return the parameters of a factory that nothing is known for. A single one is the config."""
    needed = _needed(call)
    unknown = [parameter.name for parameter in needed if not _kind_of(parameter)]
    return [] if len(needed) == 1 else unknown


def _parameters(call: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        found = inspect.signature(call).parameters.values()
    except ValueError:  # some classes of C have none
        return []
    return [each for each in found if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]


def told(error: BaseException) -> str:
    return f"{type(error).__name__}: {without_secrets(str(error))}"


def _in_a_loop_of_its_own(make: Callable[[], Any]) -> Any:
    """Run a coroutine in a thread with an event loop of its own: graphs are loaded before the server's loop, and
    sometimes inside it.
    """
    result: list[Any] = []
    problem: list[BaseException] = []

    def run() -> None:
        try:
            result.append(asyncio.run(make()))
        except BaseException as error:  # noqa: BLE001 - carried to the caller's thread
            problem.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if problem:
        raise problem[0]
    return result[0]
