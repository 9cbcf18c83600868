"""Names of nodes and channels: which are LangGraph's own, and the title that people see."""

import re

INTERNAL = ("__", "branch:", "join:", "start:")
"""Prefix of LangGraph's internal channels."""


def title_of(node: str) -> str:
    """Return a node's title: "Pay refund" for `pay_refund`.

    A node of LangChain's middleware is named after its class. What is no plain name stays as it is.
    """
    if found := re.fullmatch(r"(\w+)\.(before|after|wrap)_\w+", node):
        node = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", found[1].removesuffix("Middleware"))
    return node.replace("_", " ").capitalize() if re.fullmatch(r"[\w -]*", node) else node
