"""Comparison of decisions with the votes that they name: cast by those people, on that question, still counting."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from approvals.audit.walk import Broken


@dataclass(frozen=True)
class Cast:
    approval: str
    person: str
    actor: str


Earlier = Callable[[str, Iterable[str]], Iterable[dict[str, Any]]]
"""Returns entries from before a part of the log, oldest first: those on a thread, and the newest about some people."""


class Tallies:
    """Receives each entry in order. It keeps the votes that count, and people's names.

    Where the entries are a part of the log, `earlier` gives what a decision counts that was cast before.
    """

    def __init__(self, *, earlier: Earlier | None = None) -> None:
        self.fault: Broken | None = None
        self._earlier = earlier
        self._ended: set[str] = set()
        self._counting: dict[str, Cast] = {}
        self._names: dict[str, str] = {}

    def see(self, seq: int, record: dict[str, Any]) -> None:
        self._take(record)
        if record["action"] == "decision.reached":
            self._count(seq, record.get("object") or {}, str(record.get("thread_id")))

    def _take(self, record: dict[str, Any]) -> None:
        rows, about = record.get("rows") or {}, record.get("object") or {}
        for key, columns in rows.items():
            self._read(key, columns or {})
        if record["action"] == "vote.cast":
            vote = str(about.get("vote"))
            person = f"person:{(rows.get(f'vote:{vote}') or {}).get('voter_id')}"
            self._counting[vote] = Cast(str(about.get("approval")), person, record["actor"])
        elif record["action"] == "vote.withdrawn":
            self._end(str(about.get("vote")))

    def _take_earlier(self, thread_id: str, people: Iterable[str] = ()) -> None:
        known, names = set(self._counting), dict(self._names)
        for record in self._earlier(thread_id, people) if self._earlier else ():
            self._take(record)
        self._names |= names
        self._counting = {key: vote for key, vote in self._counting.items() if key in known or key not in self._ended}

    def _end(self, vote: str) -> None:
        self._counting.pop(vote, None)
        if self._earlier:
            self._ended.add(vote)

    def _read(self, key: str, columns: dict[str, Any]) -> None:
        kind, _, pk = key.partition(":")
        if kind == "person" and "username" in columns:
            self._names[key] = columns["username"]
        elif kind == "vote" and columns.get("ended_at"):
            self._end(pk)

    def _count(self, seq: int, about: dict[str, Any], thread_id: str) -> None:
        """Compare a decision with the votes that its entry names. Old entries and those of deadlines name none."""
        named = [str(vote) for vote in about.get("votes") or ()]
        if not self._counting.keys() >= set(named):
            self._take_earlier(thread_id)
        found = [self._counting.pop(vote, None) for vote in named]
        cast = [vote for vote in found if vote and vote.approval == about.get("approval")]
        if len(cast) < len(named):
            return self._blame(seq, "It counts a vote that nobody cast, or one that was no longer valid.")
        if not named or self._is_by(about, cast):
            return
        self._take_earlier("", {vote.person for vote in cast} - self._names.keys())
        if not self._is_by(about, cast):
            self._blame(seq, "It counts a vote for somebody else than the person who cast it.")

    def _is_by(self, about: dict[str, Any], cast: list[Cast]) -> bool:
        """Return whether a decision is said to be by those who cast its votes, by their names then or now."""
        called = [[vote.actor for vote in cast], [self._names.get(vote.person, vote.actor) for vote in cast]]
        return about.get("by") in [", ".join(names) for names in called]

    def _blame(self, seq: int, reason: str) -> None:
        self.fault = self.fault or Broken(seq, reason)
