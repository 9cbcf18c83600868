"""A checkpoint written beside the graph: what follows from the one before by other means than running nodes.

No routing runs, so what waits keeps waiting. What is not changed stays as it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self, cast

from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.base import CheckpointMetadata, CheckpointTuple, copy_checkpoint
from langgraph.pregel._checkpoint import (
    achannels_from_checkpoint,
    create_checkpoint,
    create_checkpoint_plan_for_update_state_api,
)  # no public names; what aupdate_state is made of
from langgraph.pregel._utils import get_new_channel_versions

from agentcore.graphs.registry import CompiledGraph
from agentcore.savers.base import Saver

_PLACE = ("thread_id", "checkpoint_ns", "checkpoint_id")


@dataclass
class NextStep:
    """A copy of a checkpoint that is being changed."""

    graph: CompiledGraph
    saver: Saver
    saved: CheckpointTuple
    checkpoint: Any
    channels: Any
    secrets: tuple[str, ...]
    touched: set[str] = field(default_factory=set)

    @classmethod
    async def after(cls, graph: CompiledGraph, saver: Saver, saved: CheckpointTuple, secrets: tuple[str, ...]) -> Self:
        graph._migrate_checkpoint(saved.checkpoint)
        copy = copy_checkpoint(saved.checkpoint)
        channels, _ = await achannels_from_checkpoint(graph.channels, copy, saver=saver, config=saved.config)
        return cls(graph, saver, saved, copy, channels, secrets)

    def touch(self, name: str, *, seen: Any = None) -> None:
        """Give a channel a new version; a node that had seen the one before, or `seen`, has seen this one too."""
        versions = self.checkpoint["channel_versions"]
        old = seen or versions.get(name)
        versions[name] = self.saver.get_next_version(max(versions.values()), None)
        for node in self.graph.trigger_to_nodes.get(name, ()):
            known = self.checkpoint["versions_seen"].setdefault(node, {})
            if known.get(name) == old:
                known[name] = versions[name]
        self.touched.add(name)

    async def put(self, told: Mapping[str, Any]) -> str:
        was: Mapping[str, Any] = self.saved.metadata or {}
        step = was.get("step", -1) + 1
        previous = self.saved.checkpoint["channel_versions"]
        deltas = {name for name in self.touched if isinstance(self.channels[name], DeltaChannel)}
        whole, metadata = create_checkpoint_plan_for_update_state_api(
            self.channels,
            self.touched,
            source="update",
            step=step,
            parents=was.get("parents", {}),
            saved_metadata=was,
            is_fresh_thread=False,
            fork_channels=deltas,
            channel_versions=self.checkpoint["channel_versions"],
        )
        made = create_checkpoint(
            self.checkpoint,
            self.channels,
            step,
            get_next_version=self.saver.get_next_version if whole else None,
            channels_to_snapshot=whole,
            stored_versions=previous,
            trigger_to_nodes=self.graph.trigger_to_nodes,
        )
        place = {name: self.saved.config["configurable"].get(name, "") for name in _PLACE}
        new = get_new_channel_versions(previous, made["channel_versions"])
        marked = cast(CheckpointMetadata, {**told, **metadata})
        await self.saver.aput({"configurable": place}, made, marked, new)
        return made["id"]
