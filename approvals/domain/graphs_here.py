"""Which graphs workers have now: what waits for a graph that none of them has says so before anybody decides it."""

from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from typing import Any

from django.conf import settings
from django.db.models.functions import Now

from approvals.counts import Listed, Read
from approvals.domain import bindings
from approvals.models import Graph, Worker

CARRIED_OUT_LATER = "What is decided is carried out once one has it."


@cache
def reads() -> dict[str, Read]:
    """Return what `GraphsHere` is made of, to be read with other small things of a page."""
    alive = Worker.objects.filter(seen_at__gt=Now() - timedelta(seconds=settings.ALIVE_SECONDS))
    return {"workers": Listed(alive.values("graphs")), "cards": Listed(Graph.objects.order_by("id").values("id"))}


class GraphsHere:
    """The graphs that have a card, and those that a worker which is alive has."""

    def __init__(self, told: Mapping[str, Any]) -> None:
        self.cards = [each["id"] for each in told["cards"]]
        self._has_worker = bool(told["workers"])
        self._at_work = {graph_id for worker in told["workers"] for graph_id in worker["graphs"]}

    def why_gone(self, graph_id: str) -> str:
        """Say that a graph is gone: others are at work, or nobody has left a card of it. Else return nothing."""
        if not graph_id or graph_id in self._at_work or not self._has_worker and graph_id in self.cards:
            return ""
        return f"{bindings.graph_gone(graph_id)} {CARRIED_OUT_LATER}"
