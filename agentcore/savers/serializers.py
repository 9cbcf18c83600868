"""The serializer of checkpoints."""

from collections.abc import Iterable

from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from agentcore.plain.blocked import ClassName
from agentcore.savers.strict_serializer import StrictSerializer


def strict_serializer(allowed_modules: Iterable[ClassName] = ()) -> JsonPlusSerializer:
    """Return a serializer that builds LangGraph's own safe types and the `(module, class)` pairs given; never
    pickle.
    """
    return StrictSerializer(allowed_modules)
