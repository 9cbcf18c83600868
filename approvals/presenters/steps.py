"""Where an approval stands in its list, and what became of a person's last votes."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from approvals.enums import VERDICT_WORDS, RunStatus
from approvals.models import Run, Vote
from approvals.presenters.queue import titled


@dataclass(frozen=True)
class PlaceShown:
    """`number` in a list; None where it is not on the page of the list. Without a neighbour, its address is empty."""

    list_name: str
    list_address: str
    number: int | None
    back: str
    next: str


@dataclass(frozen=True)
class TrayItem:
    """A decision of the person's own last vote, and how its run stands."""

    approval_id: UUID
    run_id: UUID
    what: str
    word: str
    state: str
    """`waiting` while it can be taken back, `running`, `done`, `asks`, `failed`, `undone`."""
    told: str
    until: datetime | None
    """Until when it can be taken back."""


_STATES = {
    RunStatus.QUEUED: ("running", "starts…"),
    RunStatus.RUNNING: ("running", "running…"),
    RunStatus.PAUSED: ("asks", "done, and asks again"),
    RunStatus.FINISHED: ("done", "done"),
    RunStatus.FAILED: ("failed", "failed"),
    RunStatus.HELD: ("failed", "held"),
    RunStatus.SUPERSEDED: ("failed", "not carried out"),
    RunStatus.CANCELLED: ("undone", "taken back or cancelled"),
}


def tray_of(votes: Iterable[Vote], now: datetime, *, shown_seconds: float) -> list[TrayItem]:
    """The votes come from `queries.decided_by`. What went well is shown for so many seconds after its end."""
    items = []
    for vote in votes:
        run: Run | None = getattr(vote.decision, "run", None)
        if run is None or (run.ended_at and not run.is_stuck and (now - run.ended_at).total_seconds() > shown_seconds):
            continue
        items.append(_item(vote, run, now))
    return items


def is_held(run: Run, now: datetime) -> bool:
    """Return whether the run waits, so that its decision can be taken back."""
    return run.status == RunStatus.QUEUED and run.attempts == 0 and run.retry_at is not None and run.retry_at > now


def _item(vote: Vote, run: Run, now: datetime) -> TrayItem:
    called = titled(vote.approval, vote.decision)
    state, told = ("waiting", "") if is_held(run, now) else _STATES[RunStatus(run.status)]
    what = vote.approval.headline if not called.asked and vote.approval.headline else f"{called.title} {called.summary}"
    return TrayItem(
        approval_id=vote.approval_id,
        run_id=run.pk,
        what=what.strip(),
        word=VERDICT_WORDS[vote.decision.verdict].decided,
        state=state,
        told=f"{told}: {run.problem}" if state == "failed" and run.problem else told,
        until=run.retry_at if state == "waiting" else None,
    )
