"""Publish the cards of this worker's graphs. Web processes make forms and pictures from them."""

from dataclasses import asdict

from django.db.models import Q
from django.utils import timezone

from agentcore.plain.errors import RegistryError
from agentcore.plain.json import digest, to_plain
from approvals import audit
from approvals.audit import subjects
from approvals.domain import rulebook
from approvals.jobs import job_queue, runtime
from approvals.live import events
from approvals.models import Graph, Thread


def publish_graphs() -> list[str]:
    """Load the graphs and store their cards; return their ids. Raises RegistryError or UnsafeSerializer."""
    cards = runtime.graph_cards()
    for card in cards:
        for fault in rulebook.faults_in(
            [*card.nodes, *(node for each in card.subgraphs.values() for node in each.nodes)]
        ):
            raise RegistryError(f"Graph {card.id}: {fault}")
    is_new = False
    with audit.transaction():
        if not job_queue.has_live_worker(within_seconds=30):
            # Cards of other graphs are leftovers, unless another worker, with other code, is alive.
            Graph.objects.exclude(pk__in=[card.id for card in cards]).delete()
        known = dict(Graph.objects.values_list("id", "card"))
        for card in cards:
            plain = to_plain(asdict(card))
            if known.get(card.id) == plain:
                continue
            made, _ = Graph.objects.update_or_create(
                pk=card.id, defaults={"card": plain, "published_at": timezone.now()}
            )
            is_new = True
            audit.append_by_worker(
                "graph.published",
                object={"graph": card.id, "code": card.code_digest, "policies": subjects.written_in(plain)},
                digests={"card": digest(plain)},
                rows=audit.told(made),
                about=audit.key_of(made),
            )
    if is_new:
        events.publish_to_all()
    _read_again([card.id for card in cards])  # one short transaction for each thread: there may be thousands
    return [card.id for card in cards]


def _read_again(graph_ids: list[str]) -> None:
    """Threads that are bound to no graph, or whose types were not allowed: langgraph.json may say otherwise by now."""
    unread = Thread.objects.filter(cleaned_at=None).exclude(checkpoint_id="")
    unread = unread.filter(Q(bound_by="") | Q(unbound__isnull=False) | Q(graph_id__in=graph_ids) & ~Q(blocked=[]))
    for thread_id, graph_id in unread.values_list("pk", "graph_id"):
        queue = job_queue.graph_queue(graph_id) if graph_id else job_queue.CONSOLE_QUEUE
        job_queue.enqueue("index_thread", queue=queue, once=f"index {thread_id}", thread_id=thread_id)
