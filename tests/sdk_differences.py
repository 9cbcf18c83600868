"""What the SDK's calls find here and on LangGraph's server, where the two differ, and why. Writes the page of the docs.

`python -m tests.sdk_differences` writes docs/reference/clients.md.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.sdk_calls import APART, CALLS, Call, Shape

ROOT = Path(__file__).parent.parent
RECORDED = Path(__file__).parent / "recorded" / "langgraph_dev.json"
PAGE = ROOT / "docs" / "reference" / "clients.md"
_OF_RUN = "|".join(
    [
        r"runs\.create(: that takes its time|: with an answer|: over a breakpoint)?",
        r"runs\.get: that (asks|is over|was cancelled)",
    ]
)
_EMPTY = "|".join(
    [
        r"threads\.(create|update|search)",
        r"threads\.create: (for|to) .*",
        r"threads\.get: (on which nothing ran|of which a run was cancelled)",
    ]
)


@dataclass(frozen=True)
class Difference:
    """`why` explains, for the `calls` whose names match, each place that `at` matches."""

    calls: str
    at: str
    why: str

    def is_about(self, call: Call) -> bool:
        return re.fullmatch(self.calls, call.name) is not None


DIFFERENCES = (
    Difference(
        r"assistants\.(search|get|get_versions|set_latest)|runs\.list|" + _OF_RUN,
        r"(\[\])?\.assistant_id: id, here text",
        "An assistant has the id of its graph. The id that LangGraph's server gives it is taken as well.",
    ),
    Difference(
        r"assistants\.(create|update|delete)",
        r".*, here refused 501",
        "Each graph is one assistant; context and config are given with each run.",
    ),
    Difference(_EMPTY, r"(\[\])?\.values: null, here .*", "Where nothing ran the state is an empty object, not null."),
    Difference(
        r"threads\.get_state: on which nothing ran",
        r"\.(metadata|checkpoint): null, here .*",
        "Where nothing ran these are empty objects, as the SDK's types have them.",
    ),
    Difference(r"runs\.create: of no assistant", r"refused 422, here refused 404", "What is not there is not found."),
    Difference(
        r"runs\.list|" + _OF_RUN,
        r"(\[\])?\.(kwargs|langsmith_session_name): .*, here nothing",
        "What a run was given is not repeated, as it may hold secrets; there is no LangSmith.",
    ),
    Difference(
        r"threads\.update_state: that asks", r".*, here refused 409", "An edit is part of a vote, or of a fork."
    ),
    Difference(
        r"runs\.create: to a question that is gone",
        r".*, here refused 409",
        "An answer to another question than the one that waits is refused as stale.",
    ),
    Difference(
        r"runs\.stream|runs\.join_stream",
        r".*, here .*",
        "A stream ends with the event `end`, and who joins is sent again what came before.",
    ),
    Difference(r"runs\.cancel", r"\{\}, here null", "The answer has no body."),
    Difference(
        r"runs\.cancel_many",
        r"refused 404, here refused 501",
        "Runs are cancelled one at a time, each with its entry in the log.",
    ),
    Difference(r"runs\.delete", r".*, here refused 501", "A run is part of the record of its thread."),
    Difference(
        r"runs\.(create|wait|stream): without a thread|runs\.create_batch",
        r".*, here refused 501",
        "Each run belongs to a thread, on which people can be asked.",
    ),
    Difference(
        r"threads\.prune", r".*, here refused 501", "Threads are removed one at a time, by an admin who says why."
    ),
    Difference(
        r"threads\.delete", r"null, here refused 403", "Removing a thread is a force-clean: for admins, with a reason."
    ),
    Difference(r"crons\..*", r".*, here refused 501", "There are no schedules."),
    Difference(r"store\..*", r".*, here refused 501", "The store is for the graphs; the page of a thread shows it."),
)  # fmt: skip


@cache
def recorded() -> dict[str, Any]:
    """Return what was recorded of LangGraph's server: `versions`, and `answers` by the name of the call."""
    return dict(json.loads(RECORDED.read_text()))


def differences_of(call: Call) -> list[Difference]:
    return [each for each in DIFFERENCES if each.is_about(call)]


def places(theirs: Shape, ours: Shape, at: str = "") -> Iterator[str]:
    """Yield each place at which ours is not as theirs. More fields than theirs are no difference."""
    if theirs == ours:
        return
    if isinstance(theirs, dict) and isinstance(ours, dict) and "refused" not in {*theirs, *ours}:
        for name, each in theirs.items():
            if name in ours:
                yield from places(each, ours[name], f"{at}.{name}")
            else:
                yield f"{at}.{name}: {_told(each)}, here nothing"
        return
    if isinstance(theirs, list) and isinstance(ours, list) and theirs and len(theirs) == len(ours):
        for each, other in zip(theirs, ours, strict=True):
            yield from places(each, other, f"{at}[]")
        return
    yield f"{at}: {_told(theirs)}, here {_told(ours)}".removeprefix(": ")


def _told(shape: Shape) -> str:
    if isinstance(shape, dict) and "refused" in shape:
        return f"refused {shape['refused']}"
    return shape if isinstance(shape, str) else json.dumps(shape)


def faults(ours: dict[str, Shape]) -> list[str]:
    """Return the places that nothing explains, and the explanations of nothing."""
    found = []
    for call in (call for call in CALLS if call.name in ours):
        known = differences_of(call)
        differing = list(places(recorded()["answers"][call.name], ours[call.name]))
        found += [f"{call.name}: {each}" for each in differing if not any(re.fullmatch(k.at, each) for k in known)]
        unused = [k.why for k in known if not any(re.fullmatch(k.at, each) for each in differing)]
        found += [f"{call.name} is the same, and the page says: {why}" for why in unused]
    return found


def page() -> str:
    """Return the page of the docs."""
    versions = ", ".join(f"{name} {version}" for name, version in recorded()["versions"].items())
    rows = [f"| `{call.method}` | {call.when} | {_why(call)} |" for call in CALLS]
    apart = [f"| `{method}` | | Not compared: {why}. |" for method, why in APART.items()]
    return "\n".join([*_HEAD, f"`langgraph dev` ({versions}).", *_BELOW, *rows, *apart]) + "\n"


_HEAD = [
    "<!-- Made from tests/sdk_calls.py and tests/sdk_differences.py. Change those, then type `make fix`. -->",
    "",
    "# What the SDK's clients find",
    "",
    "Each public method of the LangGraph SDK's Python clients, async and sync, is called here by a test,",
    "`tests/approvals/test_sdk_clients.py`, and those of the JavaScript client for assistants, threads and runs by",
    "`tests/functional/test_javascript_client.py`. The answers are compared with those that were recorded of",
]
_BELOW = [
    "*The same* means that each name in its answer is here too, with a value of the same type. There may be more.",
    "",
    "See [clients](../how-to/clients.md) for how to connect.",
    "",
    "| method | | here |",
    "| --- | --- | --- |",
]


def _why(call: Call) -> str:
    return " ".join(each.why for each in differences_of(call)) or "the same"


if __name__ == "__main__":
    PAGE.write_text(page())
