"""Send values that are too long for a page: up to a size as JSON from a worker, beyond it as the stored bytes.

A yes to an approval needs the person to have opened what is cut, and to have seen the end of what is folded.
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from agentcore.plain.excerpts import cut_channels, text_begins
from agentcore.plain.tables import ASKED_CHANNELS, StoredValue
from agentcore.testing.failpoints import is_off
from approvals import checkpoints
from approvals.actions.workers import inquiries
from approvals.database import in_database
from approvals.domain import folds, permissions
from approvals.domain.permissions import User
from approvals.errors import Conflict, NotFound, Stale
from approvals.models import Approval, Graph, Opening, Thread

LARGEST_READ = 16 * 2**20
"""Most stored bytes that a worker decodes for one request."""
SLICE = 8 * 2**20
REQUEST = "request"
_STATE = "state/"


@dataclass(frozen=True)
class Whole:
    """A value to send: JSON text, or where its bytes are stored. The first `begins` bytes are no characters."""

    name: str
    type: str
    text: str = ""
    thread_id: str = ""
    checkpoint_id: str = ""
    value: StoredValue | None = None
    begins: int = 0

    async def slices(self) -> AsyncIterator[bytes]:
        """Yield the value in slices. The database is not held between two of them."""
        if self.value is None:
            yield self.text.encode(errors="backslashreplace")
            return
        offset = self.begins
        while offset < self.value.size:
            yield await in_database(self._slice)(offset)
            offset += SLICE

    def _slice(self, offset: int) -> bytes:
        assert self.value is not None
        with checkpoints.open_tables() as tables:
            return tables.read_slice(self.thread_id, self.checkpoint_id, self.value, offset, SLICE)


def of_approval(*, approval_id: UUID, part: str, by: User) -> Whole:
    """Return a cut part of an approval, and record who opened it."""
    approval = _found(approval_id, by)
    if part in approval.cut:
        whole = _whole(approval.thread_id, approval.graph_id, approval.checkpoint_id, part, approval.checkpoint_ns)
    elif part in folded(approval):
        whole = _unfolded(approval, part)
    else:
        raise NotFound("There is no such part.")
    _remember(approval, part, by)
    return whole


def see_end(*, approval_id: UUID, part: str, seen_digest: str, by: User) -> None:
    """Record that a person has seen the end of a folded part. Raises NotFound or Stale."""
    approval = _found(approval_id, by)
    if seen_digest != approval.digest:
        raise Stale("This is not what you were shown: the digest differs. Look at it again.")
    if part not in folded(approval):
        raise NotFound("There is no such part.")
    _remember(approval, part, by)


def _found(approval_id: UUID, by: User) -> Approval:
    permissions.check_view(by)
    approval = Approval.objects.defer("state", "actions", "request").filter(pk=approval_id).first()
    if approval is None:
        raise NotFound("There is no such part.")
    return approval


def folded(approval: Approval) -> list[str]:
    """Return the folded parts of the question and of its proposal."""
    return [] if is_off("folds") else [*approval.folded, *folds.parts_of_proposal(approval.proposal)]


def _unfolded(approval: Approval, part: str) -> Whole:
    is_proposed = part not in approval.folded
    value = folds.proposed_at(approval.proposal or {}, part) if is_proposed else folds.value_at(approval.actions, part)
    return Whole(f"{_safe(part)}.txt", "text/plain; charset=utf-8", folds.text_of(value))


def _remember(approval: Approval, part: str, by: User) -> None:
    opened = {"approval": approval, "user_id": by.pk, "part": part, "shown_digest": approval.digest}
    if part not in folds.parts_of_proposal(approval.proposal):
        opened["shown_digest"] = approval.shown_digest
    Opening.objects.bulk_create([Opening(**opened)], ignore_conflicts=True)


def of_thread(*, thread_id: str, part: str, by: User) -> Whole:
    """Return a cut channel of a thread."""
    permissions.check_view(by)
    thread = Thread.objects.filter(pk=thread_id).first()
    if thread is None or part.removeprefix(_STATE) not in cut_channels(thread.state):
        raise NotFound("There is no such part.")
    return _whole(thread.pk, thread.graph_id, thread.checkpoint_id, part)


def parts_to_open(approval: Approval) -> list[str]:
    """Return what is cut or folded: a yes is taken only from people who have opened all of it."""
    return [*approval.cut, *folded(approval)]


def unopened(approval: Approval, by: User) -> list[str]:
    """Return the cut and folded parts that this person has not opened in their present version."""
    needed = parts_to_open(approval)
    seen = opened(approval, by) if needed else set()
    return [part for part in needed if part not in seen]


def opened(approval: Approval, by: User) -> set[str]:
    """Return the parts that this person has opened, or seen to the end, in their present version."""
    return opened_of(approval, openings(approval, by))


def openings(approval: Approval, by: User) -> Any:
    """Return the QuerySet of what this person has opened of it."""
    digests = {approval.shown_digest, approval.digest}
    mine = Opening.objects.filter(approval=approval, user_id=by.pk or 0, shown_digest__in=digests)
    return mine.values("part", "shown_digest")


def opened_of(approval: Approval, rows: Iterable[Mapping[str, str]]) -> set[str]:
    """Return the parts that `openings` names in their present version."""
    asked = set(folds.parts_of_proposal(approval.proposal))
    return {
        row["part"]
        for row in rows
        if row["shown_digest"] == (approval.digest if row["part"] in asked else approval.shown_digest)
    }


def _whole(thread_id: str, graph_id: str, checkpoint_id: str, part: str, namespace: str = "") -> Whole:
    channels = ASKED_CHANNELS if part == REQUEST else (part.removeprefix(_STATE),)
    with checkpoints.open_tables() as tables:
        sizes = tables.value_sizes(thread_id, checkpoint_id, namespace=namespace)
        if sizes is None:
            raise Conflict("The thread's checkpoint is gone.")
        values = [value for value in sizes.values if value.channel in channels]
        if sum(value.size for value in values) <= LARGEST_READ:
            values = []
        measured = tables.measure(thread_id, checkpoint_id, values[:1])
    if not measured:
        text = inquiries.whole(
            thread_id=thread_id, graph_id=graph_id, checkpoint_id=checkpoint_id, namespace=namespace, part=part
        )
        return Whole(f"{_safe(part)}.json", "application/json", text)
    _check_no_secret(graph_id, measured[0].value.channel)
    begins = text_begins(measured[0].kind, measured[0].head[0])
    name, type = (".txt", "text/plain; charset=utf-8") if begins is not None else (".msgpack", "application/msgpack")
    where = {"thread_id": thread_id, "checkpoint_id": checkpoint_id, "value": measured[0].value}
    return Whole(_safe(part) + name, type, begins=begins or 0, **where)  # type: ignore[arg-type]


def _check_no_secret(graph_id: str, channel: str) -> None:
    secrets = Graph.objects.filter(pk=graph_id).values_list("card__secrets", flat=True).first() or []
    if any(path.partition(".")[0] == channel for path in secrets):
        raise Conflict("It holds a secret, and is too large for a worker to take that out. It can only be rejected.")


def _safe(part: str) -> str:
    return "".join(char if char.isascii() and char.isalnum() else "-" for char in part)[:80] or "whole"
