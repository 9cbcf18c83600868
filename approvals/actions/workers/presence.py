"""Workers report that they are alive, and which graphs they have: pages can then say why a run waits."""

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.models.functions import Now
from psycopg_pool import PoolTimeout

from agentcore.plain.errors import RegistryError
from approvals.actions.runs import leases
from approvals.live import events
from approvals.models import Graph, Worker

logger = logging.getLogger(__name__)

_ALIVE_FOR = timedelta(seconds=30)
_KEPT_FOR = timedelta(days=1)
_GONE = (DatabaseError, PoolTimeout)


@contextmanager
def signed_on(graphs: Iterable[str], broken: Mapping[str, str]) -> Iterator[None]:
    """Keep a row for this process until the block ends: with its graphs, and why it could not load others.

    A thread of its own does it, as nodes may block the event loop.
    """
    stopped = threading.Event()
    beat = threading.Thread(target=_keep, args=[list(graphs), dict(broken), stopped], name="signed-on", daemon=True)
    beat.start()
    try:
        yield
    finally:
        stopped.set()
        beat.join(1)  # without a database it may take longer: do not wait, the row expires by itself


def broken_graphs() -> dict[str, str]:
    """Return a sentence for each graph of langgraph.json that a worker which is alive could not load, by id."""
    alive = Worker.objects.filter(seen_at__gt=Now() - _ALIVE_FOR).exclude(broken={})
    found = {graph_id: told for broken in alive.values_list("broken", flat=True) for graph_id, told in broken.items()}
    return dict(sorted(found.items()))


def graphs_at_work() -> set[str]:
    """Return the graphs of all workers that are alive."""
    alive = Worker.objects.filter(seen_at__gt=Now() - _ALIVE_FOR).values_list("graphs", flat=True)
    return {graph_id for graphs in alive for graph_id in graphs}


def check_kept(broken: Mapping[str, str]) -> None:
    """Raise RegistryError if a graph is broken that a worker has: that one is to go on with it."""
    if lost := sorted(graphs_at_work() & broken.keys()):
        raise RegistryError("\n".join(broken[graph_id] for graph_id in lost))


def forget_graphs_of_nobody() -> None:
    """Delete the cards of graphs that no worker has any more; do nothing while there is no worker."""
    if at_work := graphs_at_work():
        Graph.objects.exclude(pk__in=at_work).delete()
        events.publish_to_all()


def _keep(graphs: list[str], broken: dict[str, str], stopped: threading.Event) -> None:
    """Write the row again and again, also after the database was gone or emptied."""
    worker = Worker(name=leases.worker_name(), graphs=graphs, broken=broken)
    while True:
        try:
            _beat(worker)
        except _GONE as error:
            logger.debug("could not say that this worker lives (%s)", type(error).__name__)
        finally:
            connection.close()
        if stopped.wait(settings.BEAT_SECONDS):
            break
    _leave(worker.pk)


def _beat(worker: Worker) -> None:
    if Worker.objects.filter(pk=worker.pk).update(seen_at=Now()):
        return
    Worker.objects.filter(seen_at__lt=Now() - _KEPT_FOR).delete()
    Worker.objects.create(pk=worker.pk, name=worker.name, graphs=worker.graphs, broken=worker.broken)


def _leave(worker_id: UUID) -> None:
    with suppress(*_GONE):
        Worker.objects.filter(pk=worker_id).delete()
    connection.close()
