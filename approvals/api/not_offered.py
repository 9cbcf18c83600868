"""What a LangGraph server offers to its clients and this one does not: each address answers 501 and says why."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponseBase, HttpResponseNotAllowed

from approvals.api.errors import View
from approvals.errors import NotOffered

CRONS = "The console has no schedules. Have a scheduler of yours start the runs: POST /api/threads/ID/runs."
STATELESS = (
    "Each run here belongs to a thread, on which people can be asked. Make one, POST /api/threads, and start it there."
)
BATCHES = "Runs are started one at a time: POST /api/threads/ID/runs for each."
STORE = "The store is for the graphs. Its content is shown, read-only, on the page of a thread."
ASSISTANTS = (
    "An assistant is a graph of langgraph.json, one for each: none is made, changed or removed here."
    " Context and config are given with each run."
)
PRUNING = "Threads are removed one at a time, by an admin who says why: DELETE /api/threads/ID?reason=..."
CANCELLING = "Runs are cancelled one at a time: POST /api/threads/ID/runs/RUN_ID/cancel."
DELETING = "A run is part of the record of its thread, so it cannot be deleted. Cancel it to stop it."

PROTOCOL = (
    "The newer protocol of threads.stream() is not spoken here. Use runs.stream(), or the stream of all runs of the"
    " thread: GET /api/threads/ID/stream."
)

NOT_OFFERED: dict[str, dict[str, str]] = {
    "runs": {"POST": STATELESS},
    "runs/wait": {"POST": STATELESS},
    "runs/stream": {"POST": STATELESS},
    "runs/batch": {"POST": BATCHES},
    "runs/cancel": {"POST": CANCELLING},
    "runs/crons": {"POST": CRONS},
    "runs/crons/search": {"POST": CRONS},
    "runs/crons/count": {"POST": CRONS},
    "runs/crons/<cron_id>": {"GET": CRONS, "PATCH": CRONS, "DELETE": CRONS},
    "threads/<part:thread_id>/runs/crons": {"POST": CRONS},
    "threads/<part:thread_id>/runs/<run_id>": {"DELETE": DELETING},
    "threads/<part:thread_id>/stream/events": {"POST": PROTOCOL},
    "threads/<part:thread_id>/commands": {"POST": PROTOCOL},
    "threads/prune": {"POST": PRUNING},
    "store/items": {"GET": STORE, "PUT": STORE, "DELETE": STORE},
    "store/items/search": {"POST": STORE},
    "store/namespaces": {"POST": STORE},
    "assistants": {"POST": ASSISTANTS},
    "assistants/<part:assistant_id>": {"PATCH": ASSISTANTS, "DELETE": ASSISTANTS},
}
"""The sentence for each method of each address under /api/."""


def with_refusals(known: Mapping[str, View]) -> dict[str, View]:
    """Return the views of all addresses, in the order in which they are looked at: `threads/prune` is no thread."""
    refusing = {address: _refusing(address, known.get(address)) for address in NOT_OFFERED}
    alone = {address: view for address, view in refusing.items() if address not in known}
    return {**alone, **known, **refusing}


def _refusing(address: str, view: View | None) -> View:
    refused = NOT_OFFERED[address]

    def call(request: HttpRequest, **parts: Any) -> HttpResponseBase:
        if request.method in refused:
            raise NotOffered(refused[request.method])
        return view(request, **parts) if view else HttpResponseNotAllowed(list(refused))

    return call
