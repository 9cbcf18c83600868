"""The `store` section of langgraph.json: how the store is indexed, and how long its items live."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentcore.graphs.registry import import_by_path
from agentcore.plain.errors import RegistryError, without_secrets


def read_section(section: Any, root: Path) -> dict[str, Any]:
    """Return the `index` and `ttl` of langgraph.json's `store`, with the embeddings made. Raises RegistryError."""
    if section is None:
        return {}
    if not isinstance(section, Mapping):
        raise RegistryError('langgraph.json: "store" must be an object with "index" and "ttl".')
    found = {name: dict(section[name]) for name in ("index", "ttl") if isinstance(section.get(name), Mapping)}
    if "index" in found:
        found["index"]["embed"] = _embeddings(found["index"].get("embed"), root)
    return found


def _embeddings(named: Any, root: Path) -> Any:
    """Return what embeds texts: a function of the project, `./file.py:name`, or a model, `provider:model`."""
    if not isinstance(named, str) or ":" not in named:
        raise RegistryError('langgraph.json: "store": "index": "embed" must be "provider:model" or "./file.py:name".')
    file, _, name = named.rpartition(":")
    try:
        if not file.endswith(".py"):
            from langchain.embeddings import init_embeddings  # slow to import, and seldom needed

            return init_embeddings(named)
        return getattr(import_by_path((root / file).resolve()), name)
    except Exception as error:
        told = f"{type(error).__name__}: {without_secrets(str(error))}"
        raise RegistryError(f'langgraph.json: "store": "index": "embed" {named} raised {told}') from error
