"""From a snapshot to questions for people: one module for each dialect, picked here, first match wins.

A dialect has `read(graph, snapshot) -> list[Pause]`, empty when it does not speak for that snapshot.
To add one, copy `plain.py` and put it before `plain` in `DIALECTS`.
"""

from agentcore.errors import UnreadableThread
from agentcore.interrupts import breakpoint, plain
from agentcore.registry import Graph
from agentcore.types import Pause, Snapshot

DIALECTS = (breakpoint, plain)


def read(graph: Graph, snapshot: Snapshot) -> list[Pause]:
    """Return one pause for each question the thread waits on; none if it waits on nobody.

    Raises UnreadableThread when the author's metadata, or the agent's payload, is not of a kind that can be shown.
    """
    try:
        return next((pauses for dialect in DIALECTS if (pauses := dialect.read(graph, snapshot))), [])
    except Exception as error:
        nodes = ", ".join(snapshot.next)
        raise UnreadableThread(
            f"The question at {nodes} cannot be read: {type(error).__name__}. Look at the node's approval metadata."
        ) from error
