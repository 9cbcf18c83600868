"""Names of namespaces, where LangGraph keeps the checkpoints of subgraphs: `node:task_id`, one part a level, with `|`.

Just `node` where the subgraph was compiled with `checkpointer=True`; a number for a further call in the same node.
"""


def path_of(namespace: str) -> tuple[str, ...]:
    """Return the nodes on the way down to a namespace; none for the thread's own."""
    parts = [part.partition(":")[0] for part in namespace.split("|") if part]
    return tuple(part for part in parts if not part.isdigit())
