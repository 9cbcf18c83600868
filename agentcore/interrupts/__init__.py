"""From a snapshot to questions for people: one module for each dialect, picked here, first match wins.

A dialect has `read(graph, snapshot) -> list[Pause]`, empty when it does not speak for that snapshot.
To add one, copy `plain.py` and put it before `plain` in `DIALECTS`.
"""

from agentcore.interrupts import breakpoint, plain
from agentcore.registry import Graph
from agentcore.types import Pause, Snapshot

DIALECTS = (breakpoint, plain)


def read(graph: Graph, snapshot: Snapshot) -> list[Pause]:
    """Return one pause for each question the thread waits on; none if it waits on nobody."""
    return next((pauses for dialect in DIALECTS if (pauses := dialect.read(graph, snapshot))), [])
