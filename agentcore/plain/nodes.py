"""Names of nodes and channels: which are LangGraph's own, and the title that people see."""

import re

INTERNAL = ("__", "branch:", "join:", "start:")
"""Prefix of LangGraph's internal channels."""


def title_of(node: str) -> str:
    """Return a node's title: "Pay refund" for `pay_refund`.

    Nodes of LangChain's middleware have a dot in their names.
    """
    owner, dot, _ = node.partition(".")
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", owner.removesuffix("Middleware")) if dot else node
    return words.replace("_", " ").capitalize()
