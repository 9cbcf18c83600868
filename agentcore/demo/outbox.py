"""The outbox of the demo: each mail, payment or change is one JSON file."""

import asyncio
import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from langchain_core.runnables import RunnableConfig

from agentcore import effect_key

NAME_LENGTH = 60


async def think() -> None:
    """Wait as long as a model might take, so that people can watch a node run."""
    await asyncio.sleep(float(os.environ.get("DEMO_PACE") or 0.6))


def folder() -> Path:
    """The outbox: `$DATA_DIR/outbox`, or `.data/outbox`."""
    return Path(os.environ.get("DATA_DIR") or ".data") / "outbox"


def record(kind: str, body: dict[str, Any], *, config: RunnableConfig) -> str:
    """Write one file and return its reference, such as `refund-3f2a91bc`. Call it in a node.

    It behaves as a service with Idempotency-Key: when the node runs again, the existing file stays as it is.
    """
    thread_id = str(config["configurable"]["thread_id"])
    token = effect_key()[:8]
    reference = f"{kind}-{token}"
    effect = {
        **body,
        "reference": reference,
        "thread_id": thread_id,
        "at": datetime.now(UTC).isoformat(),
    }
    path = folder() / f"{_safe(kind)}-{_safe(thread_id)}-{token}.json"
    if not path.exists():
        _write(path, effect)
    return reference


def _safe(text: str) -> str:
    """A readable file name: no dots and no slashes, so no way out of the folder."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", text[: NAME_LENGTH * 2]).strip("-")
    return name[:NAME_LENGTH] or "unnamed"


def _write(path: Path, effect: dict[str, Any]) -> None:
    """Write beside, then rename: nobody ever reads half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A lone surrogate has no UTF-8; as backslashes it is a JSON escape and reads back the same.
    text = json.dumps(effect, indent=2, ensure_ascii=False)
    beside = path.with_suffix(".tmp")
    beside.write_bytes(text.encode("utf-8", errors="backslashreplace"))
    beside.replace(path)
