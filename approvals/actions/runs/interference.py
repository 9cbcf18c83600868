"""Find what other programs wrote to a thread beside our run; record it on the run and in the log.

While a run has its lease other writers are refused, or, with OTHER_WRITERS=flag, noted. A program that read the thread
before the run and writes after it is found when the thread is indexed: its checkpoint and one of the run's have the
same parent.
"""

from collections import defaultdict
from typing import Any

from agentcore.plain.tables import Written
from approvals import audit, checkpoints
from approvals.domain.run_metadata import RUN_KEY
from approvals.domain.run_traits import traits_of
from approvals.models import Decision, Run

MOST_TOLD = 10
BESIDE = "Somebody else wrote to this thread while the run held it. See whether an effect happened twice."


def note(run: Run, *, has_others: bool, since: str) -> None:
    """Flag what was written beside a run that stops now. `since` is where the thread stood when the run began."""
    if run.entered_at is None or not traits_of(run.kind).is_watched:
        return
    written = _written(run.thread_id, since)
    others = [each for each in written if each.run != str(run.pk)]
    told = [BESIDE] if has_others or others else []
    told += [_not_ours(each) for each in others]
    _flag(run, [*told, *_forked(run, written)])


def note_late(thread_id: str, head_run: Any) -> None:
    """Flag, on the last run, that others went on from a checkpoint from which it had gone on.

    `head_run` is the head's run.
    """
    runs = Run.objects.filter(thread_id=thread_id).select_related("decision").without_content()
    run = runs.order_by("-created_at").first()
    if run is None or run.is_active or run.entered_at is None or head_run == str(run.pk):
        return
    if not traits_of(run.kind).is_watched:
        return
    if _flag(run, _forked(run, _written(thread_id, run.resume_from))):
        run.save(update_fields=["interfered"])


def _written(thread_id: str, since: str) -> list[Written]:
    with checkpoints.open_tables() as tables:
        return tables.written(thread_id, since=since, run_key=RUN_KEY)


def _not_ours(written: Written) -> str:
    return f"Checkpoint {written.checkpoint_id} is not of this run, and was written while it ran."


def _forked(run: Run, written: list[Written]) -> list[str]:
    """Return the checkpoint from which both this run and another program went on, or this run twice."""
    ours: dict[str, int] = defaultdict(int)
    others: dict[str, str] = {}
    for each in written:
        if each.run == str(run.pk):
            ours[each.parent] += 1
        elif not each.run:
            others[each.parent] = each.checkpoint_id
    told = [
        f"Somebody else went on from checkpoint {parent} as this run did, and wrote {others[parent]}:"
        " what comes next there has happened twice, or may have."
        for parent in ours
        if parent in others
    ]
    told += [f"This run went on twice from checkpoint {parent}." for parent, count in ours.items() if count > 1]
    return told


def _flag(run: Run, sentences: list[str]) -> bool:
    """Add new sentences to the run and to its decision. The caller saves the run."""
    new = [each for each in sentences if each not in run.interfered][: MOST_TOLD - len(run.interfered)]
    if not new:
        return False
    run.interfered = [*run.interfered, *new]
    about = {"run": str(run.pk), "what": new}
    rows = audit.told(run, "interfered")
    if run.decision:
        _flag_decision(run.decision, new)
        rows |= audit.told(run.decision, "deviations")
        about["decision"] = str(run.decision.pk)
    audit.append_by_worker(
        "run.interfered",
        thread_id=run.thread_id,
        object=about,
        outcome="deviated",
        rows=rows,
    )
    return True


def _flag_decision(decision: Decision, new: list[str]) -> None:
    decision.deviations = [*decision.deviations, *new]
    decision.save(update_fields=["deviations"])
