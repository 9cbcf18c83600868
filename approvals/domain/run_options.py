"""The options of a run: its context, and what of its config a client may give. They stay with the thread until the next
input: a decision goes on with them. Its metadata is its own.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from agentcore.plain import schemas
from agentcore.plain.errors import Fault
from agentcore.plain.json import canonical
from agentcore.plain.types import GraphCard
from approvals.domain.run_metadata import RESERVED
from approvals.errors import Invalid

OF_CONFIG = ("configurable", "recursion_limit", "tags")
GATES = ("interrupt_before", "interrupt_after")
EVERY_NODE = "*"
LONGEST_OPTIONS = 16_000
"""They are read each time the thread's row is locked."""
LONGEST_RUN_STEPS = 10_000
SET_HERE = ("thread_id", "run_id", "graph_id", "assistant_id")
"""What the console puts into `configurable`. Clients may send it; it is not read."""
_OWN = ("__", RESERVED, "checkpoint", "langgraph_", "lc_agent_name")
"""Beginnings of names in `configurable`, and in metadata, that mean something to LangGraph, or to us."""


def options_of(card: GraphCard, *, context: Any, config: Any, gates: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the options to keep. `gates` are nodes to stop at beside the graph's own gates, by `GATES`.

    Raises Invalid with a path for each fault.
    """
    fits = partial(schemas.faults, card.context_schema or {}, path="context", is_coerced=True)
    given = None if context == {} else context
    added = {name: nodes for name, nodes in (gates or {}).items() if nodes}
    in_gates = [fault for name, nodes in added.items() for fault in _faults_in_gate(card, name, nodes)]
    if faults := [*_faults_of("context", given, fits), *_faults_of("config", config, _faults_in_config), *in_gates]:
        sentence = "The context, the config or the gates of the run do not fit."
        raise Invalid(sentence, faults=[fault.as_dict() for fault in faults])
    kept = {name: value for name, value in (config or {}).items() if value not in (None, {}, [])}
    configurable = {name: value for name, value in kept.pop("configurable", {}).items() if name not in SET_HERE}
    found = {"context": context or {}, "configurable": configurable, **kept, **added}
    options = {name: value for name, value in found.items() if value != {}}
    if len(canonical(options)) > LONGEST_OPTIONS:
        raise Invalid(f"Context and config are more than {LONGEST_OPTIONS} characters of JSON. Use the input for more.")
    return options


def gates_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the gates among options that were kept."""
    return {name: options[name] for name in GATES if name in options}


def _faults_in_gate(card: GraphCard, name: str, nodes: Any) -> Iterator[Fault]:
    known = [node["id"] for node in card.nodes]
    if nodes != EVERY_NODE and not (isinstance(nodes, list) and all(node in known for node in nodes)):
        yield Fault(name, f"This must be * or a list of nodes. The graph has {', '.join(known)}.")


def check_metadata(metadata: Mapping[str, Any]) -> None:
    """Raise Invalid for metadata of a run that its checkpoints cannot have."""
    if faults := list(_faults_in_own_names(metadata, "metadata")):
        raise Invalid("The metadata of the run does not fit.", faults=[fault.as_dict() for fault in faults])
    if len(canonical(metadata)) > LONGEST_OPTIONS:
        raise Invalid(f"The metadata is more than {LONGEST_OPTIONS} characters of JSON. Use the input for more.")


def _faults_of(path: str, given: Any, faults_in: Callable[[Any], Iterator[Fault]]) -> Iterator[Fault]:
    if isinstance(given, Mapping):
        yield from faults_in(given)
    elif given is not None:
        yield Fault(path, "This must be an object.")


def _faults_in_config(config: Mapping[str, Any]) -> Iterator[Fault]:
    for name in config.keys() - set(OF_CONFIG):
        yield Fault(f"config/{name}", f"This is not taken here. Known are {', '.join(OF_CONFIG)}.")
    yield from schemas.unstorable({name: config[name] for name in ("tags",) if name in config}, "config")
    in_configurable = partial(_faults_in_own_names, path="config/configurable")
    yield from _faults_of("config/configurable", config.get("configurable"), in_configurable)
    limit, tags = config.get("recursion_limit"), config.get("tags")
    if limit is not None and (type(limit) is not int or not 1 <= limit <= LONGEST_RUN_STEPS):
        yield Fault("config/recursion_limit", f"This must be a whole number from 1 to {LONGEST_RUN_STEPS}.")
    if tags is not None and not (isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)):
        yield Fault("config/tags", "This must be a list of texts.")


def _faults_in_own_names(given: Mapping[str, Any], path: str) -> Iterator[Fault]:
    for name, value in given.items():
        if str(name).startswith(_OWN):
            yield Fault(f"{path}/{name}", "This is set by the console, or means something to LangGraph.")
        else:
            yield from schemas.unstorable(value, f"{path}/{name}")
