"""One approval: the action, the possible decisions with why not, the preview of an edit."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from agentcore.plain.nodes import title_of
from approvals.domain import folds, permissions, policies, voters
from approvals.domain.answers import BREAKPOINT, given, is_about_actions, is_edited_beside, is_sent, takes_answer
from approvals.domain.permissions import User
from approvals.domain.policies import Rule
from approvals.domain.spoofing.findings import marks_of, step_of
from approvals.domain.text import json_text
from approvals.enums import VERDICT_WORDS, Verdict
from approvals.models import Approval, Decision, Graph
from approvals.presenters.answers import DecidedShown, asked_by, decided_of, values_of
from approvals.presenters.graphs import Drawing, drawing_of
from approvals.presenters.runs import node_states
from approvals.presenters.values import Argument, Difference, Value, arguments_of, differences_of, value_of


@dataclass(frozen=True)
class ActionShown:
    """One action, made from the stored bytes. Words of the author and the agent about it are shown apart."""

    name: str
    kind: str
    """`Node`, `Tool` or `Question from`."""
    arguments: list[Argument]
    author_title: str
    author_says: str
    agent_says: Value | None
    marks: list[str]
    part: str
    """Named where the arguments after those that are `shown` must be seen to the last of them."""
    shown: int
    """How many of the arguments stand outside of the fold."""
    is_folded: bool
    """True for one that stands behind the fold of the question."""

    @property
    def first(self) -> list[Argument]:
        return self.arguments[: self.shown]

    @property
    def rest(self) -> list[Argument]:
        return self.arguments[self.shown :]

    @property
    def rest_told(self) -> str:
        return told_of("argument", [argument.title for argument in self.rest])


def told_of(what: str, names: Sequence[str]) -> str:
    """Count what a fold hides, and name each once: `25 actions more: send_mail, wire_money`."""
    count = f"{len(names)} {what}{'' if len(names) == 1 else 's'} more"
    return f"{count}: {', '.join(dict.fromkeys(filter(None, names)))}"


@dataclass(frozen=True)
class WarningShown:
    """A warning about text that may mislead, with its place."""

    where: str
    text: str
    sentence: str
    target: str
    """The id of the element on the page where it stands."""


@dataclass(frozen=True)
class VerdictChoice:
    """A button of the decision bar; disabled with its sentence when there is one."""

    verdict: str
    label: str
    why_not: str


@dataclass(frozen=True)
class Choices:
    approve: VerdictChoice
    edit: VerdictChoice
    reject: VerdictChoice
    skip: VerdictChoice
    answer: VerdictChoice
    kind: str
    """`gate` at a breakpoint, `actions` for tool calls, `question` for what only an answer can settle."""
    is_any: bool
    why_none: str
    """One sentence when all three of approve, edit and reject are refused for the same reason."""

    def agreeing_with(self, verdict: str) -> VerdictChoice:
        """Return the button that casts the same verdict as a proposal."""
        return {Verdict.APPROVE: self.approve, Verdict.SKIP: self.skip, Verdict.RESPOND: self.answer}[Verdict(verdict)]


@dataclass(frozen=True)
class PreviewShown:
    """What an edit or skip would lead to. `title`, `summary` and `actions` are those of what would run then."""

    differences: list[Difference]
    next_before: str
    next: str
    is_rerouted: bool
    digest: str
    title: str
    summary: str
    actions: list[ActionShown]
    path: str
    """The way down to the gate, where that is inside subgraphs."""
    leads_to: list[str]
    """The nodes that would run instead; none if the same do."""


@dataclass(frozen=True)
class DecisionShown:
    word: str
    verdict: str
    by: str
    at: datetime
    comment: str
    edits: str
    answered: list[DecidedShown]
    values: list[Argument]
    given: str
    deviations: list[str]


def actions_of(approval: Approval, graph: Graph | None) -> list[ActionShown]:
    titles = channel_titles(graph)
    metadata = approval.request.get("metadata", {}) if isinstance(approval.request, dict) else {}
    noted = Noted(approval.kind, approval.next, approval.marks, approval.folded)
    shown = [
        _action(place, action, titles, _order(metadata, action), noted) for place, action in enumerate(approval.actions)
    ]
    if folds.ALL_ACTIONS not in approval.folded:
        return shown
    first = folds.actions_shown(action["args"] for action in approval.actions)
    return [replace(action, is_folded=place >= first) for place, action in enumerate(shown)]


@dataclass(frozen=True)
class Noted:
    """What is known of the actions of a question, or of those that an edit would lead to."""

    kind: str
    next: Collection[str]
    marks: Sequence[Mapping[str, str]]
    folded: Collection[str] = ()


def warnings_of(approval: Approval) -> list[WarningShown]:
    """Return the warnings on top of the page."""
    return [
        WarningShown(
            where=_where(mark["place"], len(approval.actions)),
            text=mark["text"],
            sentence=mark["sentence"],
            target="action" if mark["place"].startswith("/actions/") else "state",
        )
        for mark in approval.marks
    ]


def _where(place: str, count: int) -> str:
    """Format a JSON Pointer for people."""
    root, *steps = [step.replace("~1", "/").replace("~0", "~") for step in place.strip("/").split("/")]
    if root != "actions":
        return f"In the {root}" + (f", {' / '.join(steps)}" if steps else "")
    of = f" of action {int(steps[0]) + 1}" if count > 1 else ""
    told = {"name": "In the name", "description": "In what the agent says"}
    if steps[1] in told:
        return told[steps[1]] + of
    return (f"In {' / '.join(steps[2:])}" if steps[2:] else "In what is asked") + of


def _order(metadata: Any, action: Mapping[str, Any]) -> list[str]:
    """Return the author's order: stored objects have sorted keys, lists in metadata or a schema keep their order."""
    shown = metadata.get(action["name"], {}).get("show") if isinstance(metadata, dict) else None
    shown = shown or (action.get("schema") or {}).get("required", [])
    return [name for name in shown if isinstance(name, str)] if isinstance(shown, list) else []


def _ordered(args: Any, order: list[str]) -> Any:
    if not isinstance(args, dict):
        return args
    return {name: args[name] for name in [*(name for name in order if name in args), *args]}


def _action(
    place: int, action: Mapping[str, Any], titles: Mapping[str, str], order: list[str], noted: Noted
) -> ActionShown:
    name, description = str(action["name"]), str(action.get("description") or "")
    is_gate = noted.kind == BREAKPOINT
    is_node = is_gate and name in noted.next
    is_by_author = action.get("described_by", "author" if is_gate else "agent") == "author"
    title = str(action.get("title") or "")
    given = _ordered(action["args"], order)
    arguments, part = arguments_of(given, titles), folds.part_of(place)
    is_tall = isinstance(given, dict) and part in noted.folded
    return ActionShown(
        name=name,
        kind="Node" if is_node else "Tool" if is_gate or action.get("allowed") else "Question from",
        arguments=[_with_notes(place, each, noted, is_tall=is_tall) for each in arguments],
        author_title=title if is_node and title not in (name, title_of(name)) else "",
        author_says=description if is_by_author else "",
        agent_says=value_of(description) if description and not is_by_author else None,
        marks=[mark["sentence"] for mark in noted.marks if mark["place"] == f"/actions/{place}/name"],
        part=part if is_tall else "",
        shown=folds.arguments_shown(given.items()) if is_tall else len(arguments),
        is_folded=False,
    )


def _with_notes(place: int, argument: Argument, noted: Noted, *, is_tall: bool) -> Argument:
    """Add warnings, and the part whose end must be seen.

    A tall action has one part for all arguments, after the last.
    """
    at = f"/actions/{place}/args" + (f"/{step_of(argument.name)}" if argument.name else "")
    found = [mark for mark in noted.marks if mark["place"] == at or mark["place"].startswith(f"{at}/")]
    part = folds.part_of(place, argument.name)
    is_own = part in noted.folded and (argument.name or not is_tall)
    return replace(argument, part=part if is_own else "", marks=[each["sentence"] for each in found])


def channel_titles(graph: Graph | None) -> dict[str, str]:
    channels = graph.card["channels"] if graph else []
    return {item["name"]: item["schema"].get("title") or item["name"] for item in channels}


def shown_first(actions: Iterable[ActionShown]) -> list[str]:
    """Return the channels that the actions show, in order: an edit form begins with them."""
    return [argument.name for action in actions for argument in action.arguments]


def choices_of(
    approval: Approval, by: User, *, is_voted: bool, now: datetime, untrue: str = "", unopened: Sequence[str] = ()
) -> Choices:
    """The approval comes with its `thread__started_by` and `claimed_by`. `untrue`: why nobody may rely on its row."""
    why_none = untrue or why_not_vote_at_all(approval, by, is_voted=is_voted, now=now)
    verdicts = ("approve", "reject", "skip", "respond")
    approve, reject, skip, answer = (_choice(approval, by, verdict, why_none, unopened) for verdict in verdicts)
    why_not_skip = why_not_claim(approval, by, "skip") or policies.why_not_edit(waiting=approval.next)
    skip = replace(skip, why_not=skip.why_not or why_not_skip)
    edit = VerdictChoice("approve", "Edit and approve", approve.why_not or _why_no_edit(approval))
    answer = replace(answer, label=_answer_label(approval))
    is_any = not (approve.why_not and reject.why_not and skip.why_not and answer.why_not)
    refusals = {answer.why_not} if takes_answer(approval) else {approve.why_not, reject.why_not}
    why_none = refusals.pop() if len(refusals) == 1 else ""
    return Choices(approve, edit, reject, skip, answer, _kind(approval), is_any, why_none)


def _kind(approval: Approval) -> str:
    if not takes_answer(approval):
        return "gate"
    return "actions" if is_about_actions(approval) else "question"


def _answer_label(approval: Approval) -> str:
    if not is_about_actions(approval):
        return "Answer"
    if len(approval.actions) > 1:
        return "Decide on each"
    return "Edit what was sent" if is_edited_beside(approval) else "Edit or respond"


def why_not_vote_at_all(approval: Approval, by: User, *, is_voted: bool, now: datetime) -> str:
    """Return what prevents any vote of this person, or an empty string: the same checks as those of the vote itself."""
    rule = Rule.of(approval.rule)
    if sentence := why_not_claim(approval, by):
        return sentence
    if is_voted:
        return "You voted. Withdraw your vote to vote again."
    return (
        policies.why_not_expired(rule, due_at=approval.due_at, now=now, allowed=approval.allowed_verdicts)
        or policies.why_not_held(status=approval.thread.status)
        or policies.why_not_claimed(
            claimed_by=approval.claimed_by.get_username() if approval.claimed_by else "",
            claimed_until=approval.claimed_until,
            now=now,
            voter=by.get_username(),
        )
    )


def why_not_claim(approval: Approval, by: User, verdict: str = "approve") -> str:
    """Return why the policy does not let this person claim, or vote; or an empty string."""
    return voters.why_not(approval, by, thread=approval.thread, rule=Rule.of(approval.rule), verdict=verdict)


def _choice(approval: Approval, by: User, verdict: str, why_none: str, unopened: Sequence[str]) -> VerdictChoice:
    why_not = permissions.why_not(by, "skip" if verdict == "skip" else "vote") or why_none
    return VerdictChoice(
        verdict,
        Verdict(verdict).label,
        why_not
        or policies.why_not_vote(
            verdict=verdict, allowed=approval.allowed_verdicts, why_not=approval.why_not, comment="x", has_edits=False
        )
        or (policies.why_not_unopened(parts=unopened) if verdict != "reject" else ""),
    )


def _why_no_edit(approval: Approval) -> str:
    if not is_edited_beside(approval):
        return "Here the state is edited together with the answer."
    return (
        policies.why_not_edit_sent(is_sent=is_sent(approval))
        or policies.why_not_edited(Rule.of(approval.rule), approval.state)
        or policies.why_not_edit(waiting=approval.next)
        or policies.why_not_edit_blocked(blocked=approval.blocked)
    )


def preview_of(approval: Approval, given: Mapping[str, Any], graph: Graph | None) -> PreviewShown:
    """`given` is what `previews.preview` answered, or what of it stands with a proposal."""
    titles = channel_titles(graph)
    is_rerouted = list(given["next_before"]) != list(given["next"])
    noted = Noted(approval.kind, given["next"], marks_of(given["actions"], None, {}))
    return PreviewShown(
        differences=differences_of(given["diff"]),
        next_before=titles_of(given["next_before"], graph),
        next=titles_of(given["next"], graph),
        is_rerouted=is_rerouted,
        digest=str(given["digest"]),
        title=str(given["title"]),
        summary=str(given["summary"]),
        actions=[
            _action(place, action, titles, _names_in(action["args"]), noted)
            for place, action in enumerate(given["actions"])
        ],
        path=asked_by(approval),
        leads_to=list(given["next"]) if is_rerouted else [],
    )


def _names_in(args: Any) -> list[str]:
    return list(args) if isinstance(args, dict) else []


def titles_of(nodes: Iterable[str], graph: Graph | None) -> str:
    """Return the titles of nodes."""
    return " + ".join(graph.node_title(node) if graph else node for node in nodes) or "the end"


def decision_of(approval: Approval, decision: Decision) -> DecisionShown:
    return DecisionShown(
        word=VERDICT_WORDS[decision.verdict].decided,
        verdict=decision.verdict,
        by=decision.decided_by,
        at=decision.decided_at,
        comment=decision.comment,
        edits=json_text(decision.edits) if decision.edits else "",
        answered=(decided := decided_of(approval, decision)),
        values=[] if decided or not takes_answer(approval) else values_of(decision.answer),
        given=_given(approval, decision),
        deviations=decision.deviations,
    )


def _given(approval: Approval, decision: Decision) -> str:
    if is_edited_beside(approval) and decision.verdict != "respond":
        return ""
    return json_text(given(approval, decision))


def picture_of(approval: Approval, graph: Graph | None, *, leads_to: Iterable[str] = ()) -> Drawing | None:
    """Return the drawing of the graph: where it waits, or how far the decision's run came.

    An edit `leads_to` other nodes.
    """
    if graph is None:
        return None
    decision = getattr(approval, "decision", None)
    run = getattr(decision, "run", None)
    here = approval.next if approval.is_pending else ()
    return drawing_of(graph.card, here=here, states=node_states(run), leads_to=list(leads_to))
