"""A diagnosis for people: each step with its button or link, if it has one."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from django.urls import reverse

from approvals.domain import permissions
from approvals.domain.diagnosis import AdvisedStep, Diagnosis
from approvals.domain.permissions import User
from approvals.models import Thread

_POSTED: dict[str, Callable[[Thread, AdvisedStep], str]] = {
    "retry": lambda thread, step: reverse("retry_run", args=[step.target]),
    "give_up": lambda thread, step: reverse("give_up_run", args=[step.target]),
    "ask_again": lambda thread, step: reverse("ask_again", args=[thread.pk]),
    "cancel": lambda thread, step: reverse("cancel_run", args=[step.target]),
    "go_on": lambda thread, step: reverse("go_on", args=[thread.pk]),
}
_LINKED: dict[str, Callable[[Thread, AdvisedStep], str]] = {
    "decide": lambda thread, step: reverse("approval", args=[step.target]),
    "clean": lambda thread, step: reverse("force_clean", args=[thread.pk]),
    "bind": lambda thread, step: reverse("bind_thread", args=[thread.pk]),
    "new_thread": lambda thread, step: reverse("start"),
    "history": lambda thread, step: "#history",
    "fork": lambda thread, step: "#history",
}
_LABELS = {
    "retry": "Retry",
    "give_up": "Give up",
    "ask_again": "Ask again",
    "cancel": "Cancel the run…",
    "go_on": "Run it on",
    "decide": "Open",
    "clean": "Force-clean…",
    "bind": "Choose its graph…",
    "start": "Start a run",
    "new_thread": "Start a run",
    "history": "History",
    "fork": "History",
}
_ASKED_FIRST = ("cancel",)


@dataclass(frozen=True)
class AdvisedStepShown:
    """`post` and `link` are addresses; at most one of them is set. `is_asked` first: it cannot be taken back."""

    id: str
    text: str
    people: str
    why: str
    label: str
    post: str
    link: str
    is_first: bool
    is_asked: bool
    why_not: str


@dataclass(frozen=True)
class DiagnosisShown:
    health: str
    word: str
    title: str
    sentence: str
    steps: list[AdvisedStepShown]
    facts: list[tuple[str, str, datetime | None]]
    """Name, words, and the time instead of words."""


def diagnosis_of(found: Diagnosis, thread: Thread, user: User) -> DiagnosisShown:
    return DiagnosisShown(
        health=found.health.value,
        word=found.word,
        title="Where it stands" if found.is_moving else "Why is it not moving?",
        sentence=found.sentence,
        steps=[_step(step, thread, user, is_first=place == 0) for place, step in enumerate(found.steps)],
        facts=[
            (name, "" if isinstance(value, datetime) else str(value), _moment(value)) for name, value in found.facts
        ],
    )


def _step(step: AdvisedStep, thread: Thread, user: User, *, is_first: bool) -> AdvisedStepShown:
    return AdvisedStepShown(
        id=step.action.replace("_", "-"),
        text=step.text,
        people=step.people,
        why=step.why,
        label=_LABELS.get(step.action, ""),
        post=_POSTED[step.action](thread, step) if step.action in _POSTED else "",
        link=_link(step, thread),
        is_first=is_first,
        is_asked=step.action in _ASKED_FIRST,
        why_not=permissions.why_not(user, step.permission) if step.permission else "",
    )


def _link(step: AdvisedStep, thread: Thread) -> str:
    if step.action == "start" and step.target:
        return reverse("start_graph", args=[step.target], query={"thread_id": thread.pk})
    if step.action == "start":
        return reverse("start")
    return _LINKED[step.action](thread, step) if step.action in _LINKED else ""


def _moment(value: str | int | datetime) -> datetime | None:
    return value if isinstance(value, datetime) else None
