"""Comparison of votes and decisions with their entries: exactly one entry each, and the same content."""

from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db.models import Model

from agentcore.plain.json import digest
from approvals.audit.walk import Broken
from approvals.domain.policies import answer_digest, content_digest
from approvals.models import AuditEntry, AuditText, Decision, Vote

BATCH = 1_000
ROWS_OF: dict[str, tuple[str, type[Model]]] = {"vote.cast": ("vote", Vote), "decision.reached": ("decision", Decision)}
FIELDS = {
    "vote.cast": ("verdict", "seen_digest", "edits", "answer", "as_node", "comment", "voter__username"),
    "decision.reached": ("verdict", "edits", "answer", "as_node", "comment", "decided_by", "answer_digest"),
}
THREAD = ("approval__thread_id", "approval__thread__cleaned_at")


class Ledger:
    """Receives each entry and reads its row in batches. It keeps only the ids of the rows."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[tuple[int, dict[str, Any]]]] = {action: [] for action in ROWS_OF}
        self._met: dict[str, set[UUID]] = {action: set() for action in ROWS_OF}
        self._fault: Broken | None = None
        self._last = 0

    def see(self, seq: int, record: dict[str, Any]) -> None:
        self._last = seq
        if (waiting := self._waiting.get(record["action"])) is not None:
            waiting.append((seq, record))
            if len(waiting) >= BATCH:
                self._compare(record["action"])

    def first_fault(self, *, is_whole: bool) -> Broken | None:
        """Return the first entry that contradicts its row; of a whole log also a row without an entry."""
        for action in ROWS_OF:
            self._compare(action)
            if is_whole and self._fault is None:
                self._find_untold(action)
        return self._fault

    def _compare(self, action: str) -> None:
        waiting, self._waiting[action] = self._waiting[action], []
        ids = [(seq, record, _id_in(record, ROWS_OF[action][0])) for seq, record in waiting]
        rows = _rows(action, [pk for _, _, pk in ids if pk])
        texts = {
            text.seq: text for text in AuditText.objects.filter(seq__in=[seq for seq, _ in waiting], name="comment")
        }
        for seq, record, pk in ids:
            row = rows.get(pk) if pk else None
            if row is None:
                self._note(seq, f"Its {ROWS_OF[action][0]} is gone.")
            elif row.pk in self._met[action]:
                self._note(seq, f"Its {ROWS_OF[action][0]} has another entry.")
            elif _vote_differs(row, seq, record, texts) if action == "vote.cast" else _decision_differs(row, record):
                self._note(seq, f"Its {ROWS_OF[action][0]} was changed.")
            self._met[action].update([pk] if pk else [])

    def _find_untold(self, action: str) -> None:
        noun, model = ROWS_OF[action]
        if model._default_manager.count() != len(self._met[action]):
            self._note(self._last + 1, f"There is a {noun} that no entry tells of.")

    def _note(self, seq: int, reason: str) -> None:
        if self._fault is None or seq < self._fault.seq:
            self._fault = Broken(seq, reason)


def _id_in(record: dict[str, Any], noun: str) -> UUID | None:
    try:
        return UUID(record["object"][noun])
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _rows(action: str, ids: list[UUID]) -> dict[UUID, Any]:
    model, fields = ROWS_OF[action][1], (*FIELDS[action], "approval_id", *THREAD)
    return {row.pk: row for row in model._default_manager.filter(pk__in=ids).values_list("pk", *fields, named=True)}


def _vote_differs(vote: Any, seq: int, record: dict[str, Any], texts: dict[int, AuditText]) -> bool:
    about, digests = record["object"], record["digests"]
    told = (about.get("approval"), about.get("verdict"), digests.get("seen"))
    if (str(vote.approval_id), vote.verdict, vote.seen_digest) != told or _is_of_another(vote, record["actor"]):
        return True
    if "texts" not in record:  # written before texts stood beside entries
        return False
    text = texts[seq].text if seq in texts else ""
    content = digest([vote.edits, vote.answer, vote.as_node])
    return vote.comment != text or (content != digests.get("content", content) and not _is_cleaned(vote))


def _is_of_another(vote: Any, actor: str) -> bool:
    """Return whether the vote is of another person. A name that belongs to no person is taken as renamed."""
    return vote.voter__username != actor and get_user_model().objects.filter(username=actor).exists()


def _decision_differs(decision: Any, record: dict[str, Any]) -> bool:
    about, answer = record["object"], record["digests"].get("answer", decision.answer_digest)
    told = (about.get("approval"), about.get("verdict"), about.get("by", decision.decided_by), answer)
    if (str(decision.approval_id), decision.verdict, decision.decided_by, decision.answer_digest) != told:
        return True
    if "answer" not in record["digests"]:  # written before the answer's digest was
        return False
    given = answer_digest(
        verdict=decision.verdict,
        edits=decision.edits,
        answer=decision.answer,
        as_node=decision.as_node,
        comment=decision.comment,
    )
    if given == answer or _is_cleaned(decision):
        return False
    content = content_digest(edits=decision.edits, answer=decision.answer, as_node=decision.as_node)
    return not _has_erased_text(decision) or content != record["digests"].get("content", content)


def _is_cleaned(row: Any) -> bool:
    """True if the thread was force-cleaned and the log says so: then what was decided on it is gone."""
    removals = ("thread.force_cleaned", "thread.retired")
    entries = AuditEntry.objects.filter(thread_id=row.approval__thread_id, action__in=removals)
    return row.approval__thread__cleaned_at is not None and entries.exists()


def _has_erased_text(row: Any) -> bool:
    """True if a comment on this thread was erased: the decision's own holds those of its votes."""
    entries = AuditEntry.objects.filter(thread_id=row.approval__thread_id, action="vote.cast")
    return row.comment == "" and AuditText.objects.filter(seq__in=entries.values("seq"), text="").exists()
