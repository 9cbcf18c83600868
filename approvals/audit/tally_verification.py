"""Comparison of decisions with the votes that they name: cast by those people, on that question, still counting."""

from dataclasses import dataclass
from typing import Any

from approvals.audit.walk import Broken


@dataclass(frozen=True)
class Cast:
    approval: str
    person: str
    actor: str


class Tallies:
    """Receives each entry in order. It keeps the votes that count, and people's names."""

    def __init__(self) -> None:
        self.fault: Broken | None = None
        self._counting: dict[str, Cast] = {}
        self._names: dict[str, str] = {}

    def see(self, seq: int, record: dict[str, Any]) -> None:
        rows, about = record.get("rows") or {}, record.get("object") or {}
        for key, columns in rows.items():
            self._read(key, columns or {})
        if record["action"] == "vote.cast":
            vote = str(about.get("vote"))
            person = f"person:{(rows.get(f'vote:{vote}') or {}).get('voter_id')}"
            self._counting[vote] = Cast(str(about.get("approval")), person, record["actor"])
        elif record["action"] == "vote.withdrawn":
            self._counting.pop(str(about.get("vote")), None)
        elif record["action"] == "decision.reached":
            self._count(seq, about)

    def _read(self, key: str, columns: dict[str, Any]) -> None:
        kind, _, pk = key.partition(":")
        if kind == "person" and "username" in columns:
            self._names[key] = columns["username"]
        elif kind == "vote" and columns.get("ended_at"):
            self._counting.pop(pk, None)

    def _count(self, seq: int, about: dict[str, Any]) -> None:
        """Compare a decision with the votes that its entry names. Old entries and those of deadlines name none."""
        named = [str(vote) for vote in about.get("votes") or ()]
        found = [self._counting.pop(vote, None) for vote in named]
        cast = [vote for vote in found if vote and vote.approval == about.get("approval")]
        if len(cast) < len(named):
            return self._blame(seq, "It counts a vote that nobody cast, or one that was no longer valid.")
        called = [[vote.actor for vote in cast], [self._names.get(vote.person, vote.actor) for vote in cast]]
        if named and about.get("by") not in [", ".join(names) for names in called]:
            self._blame(seq, "It counts a vote for somebody else than the person who cast it.")

    def _blame(self, seq: int, reason: str) -> None:
        self.fault = self.fault or Broken(seq, reason)
