"""Run a graph until it stops: at a pause, at the end, or with an error."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, cast

from langgraph.store.base import BaseStore
from langgraph.types import Durability

from agentcore.graphs.registry import CompiledGraph
from agentcore.graphs.snapshots import config_for, snapshot, with_saver
from agentcore.graphs.streams import Raw, langgraph_modes
from agentcore.graphs.subgraphs import NOTHING_HELD, Hold, OtherHead, held
from agentcore.graphs.tools import Watch
from agentcore.graphs.tracing import masked_by
from agentcore.plain.errors import FenceLost, without_secrets
from agentcore.plain.json import to_plain
from agentcore.plain.masks import Mask
from agentcore.plain.streams import Wanted
from agentcore.plain.types import Failed, Finished, Mismatch, Outcome, Paused, Snapshot, Step
from agentcore.savers.base import Saver
from agentcore.savers.fence import lost_told
from agentcore.testing.failpoints import is_off

OnStep = Callable[[Step], Awaitable[None]]

UNFINISHED = "Unfinished"
LONGEST_RUN_SECONDS = 3600.0
UNFINISHED_TOLD = (
    "The run stopped inside {} without saying why: a graph that it calls may stand at a breakpoint, where the console"
    " cannot see it. Nothing passes that breakpoint. Compile the graph where the node's function can be seen to use it."
)
LONGEST_MESSAGE = 500
_STRICT_RESUME = "__pregel_strict_resume"  # LangGraph's own, private; a test pins it


async def _go(*_: Any) -> None:
    return None


def _unheard(_: Raw) -> None:
    return None


@dataclass(frozen=True)
class RunContext:
    """A run at work: on which thread, with what it reads and writes, and whom it asks and tells on its way."""

    graph: CompiledGraph
    saver: Saver
    thread_id: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Kept in every checkpoint of the run."""
    run_key: str = ""
    """The entry of `metadata` that tells this run's checkpoints from others'."""
    before_entering: Callable[[], Awaitable[None]] = _go
    """Awaited before the first node can run."""
    on_step: OnStep = _go
    before_outcome: Callable[[], Awaitable[None]] = _go
    """Awaited when the graph has stopped, before the thread is read for the outcome."""
    watch: Watch = field(default_factory=Watch)
    """Notes the tools that are called."""
    is_retried: bool = False
    """This run has begun before."""
    configurable: Mapping[str, Any] = field(default_factory=dict)
    """What nodes and factories find in the config, beside what LangGraph puts there."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """`recursion_limit` and `tags` of the config."""
    context: Any = None
    """The context of the run, as its graph's `context_schema` has it."""
    store: BaseStore | None = None
    """The store that nodes are given, in place of the graph's own."""
    mask: Mask = field(default_factory=lambda: Mask(()))
    """Learns the secrets that come up."""
    wanted: Wanted = Wanted()
    """What somebody wants to hear of the run while it is at work."""
    on_event: Callable[[Raw], object] = _unheard
    """Called with everything that LangGraph streams. It must not wait."""
    may_pass: Callable[[Snapshot], Awaitable[bool]] | None = None
    """Asked about a gate that an edit leads to: what it refuses is asked anew."""
    changes: Callable[[str], Awaitable[list[str]]] | None = None
    """Asked, before anything is written and again after an edit, what is stored otherwise than when it was decided:
    then nothing is run. It is told the checkpoint that stands there, which may be an edit of this run."""

    @property
    def run(self) -> str:
        return str(self.metadata[self.run_key])

    def wrote(self, here: Snapshot | None) -> bool:
        """Return whether this run wrote that checkpoint."""
        if here is None or not self.run_key:
            return False
        return bool(here.metadata.get(self.run_key) == self.metadata[self.run_key])


async def run_until_pause(
    run: RunContext,
    input: Any,
    *,
    expected_head: str | None = None,
    hold: Hold = NOTHING_HELD,
) -> Outcome:
    """Run a graph on a thread and return how it stopped.

    `input` is new input, whatever the graph takes, a `Command`, or None to go on from where the thread stands. With
    `expected_head`, a thread at another checkpoint is left alone: Mismatch. Held subgraphs stay where they stand.
    Checkpoints are written before the next step begins (`durability="sync"`). Raises FenceLost if the saver has a fence
    and a write was refused, or if `run.on_step` raised it.
    """
    graph, saver, thread_id = run.graph, run.saver, run.thread_id
    config: Any = {**run.options, **config_for(thread_id), "metadata": dict(run.metadata), "callbacks": [run.watch]}
    config["configurable"] = {**run.configurable, **config["configurable"], _STRICT_RESUME: True}
    durability: Durability = "async" if is_off("sync") else "sync"
    running = _Running(run)
    with lost_told(saver), masked_by(run.mask):
        try:
            stream = _with_store(with_saver(graph, held(saver, hold, expected_head)), run.store).astream(
                input,
                config,
                context=run.context,
                stream_mode=langgraph_modes(run.wanted),
                subgraphs=run.wanted.has_subgraphs,
                durability=durability,
            )
            async with asyncio.timeout(LONGEST_RUN_SECONDS), aclosing(stream) as events:  # type: ignore[type-var]
                async for event in events:
                    raw: Raw = cast(Raw, event if run.wanted.has_subgraphs else ((), *event))
                    if raw[:2] == ((), "tasks"):
                        await running.note(raw[2])
                    run.on_event(raw)
        except FenceLost:
            raise
        except OtherHead as other:
            return Mismatch(expected=expected_head or "", found=other.found)
        except TimeoutError:
            return Failed("TimeoutError", f"The run took longer than {LONGEST_RUN_SECONDS:.0f} s.", running.node)
        except Exception as error:  # noqa: BLE001 - a node may raise anything: the run fails, the worker goes on
            message = without_secrets(run.mask.anywhere(str(error)))  # whole: a part of a secret is not recognised
            return Failed(type(error).__name__, message[:LONGEST_MESSAGE], running.node)
    # Outside: a database that does not answer now is no failure of the graph. Recovery settles the run.
    return await outcome(run)


def _with_store(graph: CompiledGraph, store: BaseStore | None) -> CompiledGraph:
    return graph if store is None else graph.copy(update={"store": store})


async def outcome(run: RunContext) -> Outcome:
    """Return how the thread stands after a run."""
    await run.before_outcome()
    here = await snapshot(run.graph, run.saver, run.thread_id)
    if here is None:
        return Failed("ThreadGone", "The thread was deleted while it ran.")
    if here.is_paused:
        return Paused(here)
    if here.waiting:
        return Failed(UNFINISHED, UNFINISHED_TOLD.format(", ".join(here.waiting)))
    return Finished(here)


class _Running:
    """Turns LangGraph's task events into steps, and remembers which node failed."""

    def __init__(self, run: RunContext) -> None:
        self.on_step, self._mask = run.on_step, run.mask
        self.open: dict[str, str] = {}
        self.failed = ""

    @property
    def node(self) -> str:
        return self.failed or next(iter(self.open.values()), "")

    async def note(self, event: Any) -> None:
        task_id, node = event["id"], event["name"]
        if self._mask.paths:
            self._mask.learn(list(_secret_parts(self._mask, event.get("input"), event.get("result"))))
        if "input" in event:
            self.open[task_id] = node
            await self.on_step(Step(task_id, node, "running"))
            return
        self.open.pop(task_id, None)
        if event.get("error"):
            self.failed = node
        await self.on_step(Step(task_id, node, "failed" if event.get("error") else "done"))


def _secret_parts(mask: Mask, *values: Any) -> Iterator[dict[str, Any]]:
    """Yield what stands in channels that have secrets, of what a node was given and of what it wrote."""
    for channel in {path[0] for path in mask.paths}:
        for value in values:
            found = value.get(channel) if isinstance(value, Mapping) else getattr(value, channel, None)
            if found is not None:
                yield {channel: to_plain(found)}
