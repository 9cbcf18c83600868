"""Does the state allow it? Plain values in, a refusing sentence or an empty string out. No database, no clock."""

import functools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, Literal

from agentcore.plain.blocked import blocked_sentence
from agentcore.plain.json import digest
from agentcore.plain.sends import SENDS_WAIT
from approvals.domain import editable
from approvals.domain.editable import Editable
from approvals.domain.folds import ALL_ACTIONS
from approvals.enums import OnCrash, OnDeadline, Verdict

THREAD_HELD = "A run holds this thread. Wait until it stops."
LONGEST_COMMENT = 5_000
MOST_APPROVALS = 50
MOST_MINUTES = 366 * 24 * 60
POLICY_FIELDS = (
    "graph_id", "node", "tool", "approvals", "one_reject_ends", "may_decide_own", "needs_reason", "deadline_minutes",
    "on_deadline", "on_crash", "may_edit", "edit_needs_another",
)  # fmt: skip


@dataclass(frozen=True)
class Voters:
    """Who may vote: these people and the members of these groups; every reviewer if both are empty."""

    people: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    def __str__(self) -> str:
        return _listed([*self.people, *(f"members of {group}" for group in self.groups)])

    def include(self, username: str, groups: Collection[str]) -> bool:
        return not self.is_limited() or username in self.people or not set(groups).isdisjoint(self.groups)

    def is_limited(self) -> bool:
        """False where everybody may vote."""
        return bool(self.people or self.groups)


@dataclass(frozen=True)
class Rule:
    """How one question is decided. It is stored with the question, so a later change of a policy does not affect it.

    `voters` is a list because several gates may wait together: a person must be in each of them.
    """

    source: str = "default"
    approvals: int = 1
    voters: tuple[Voters, ...] = ()
    one_reject_ends: bool = True
    may_decide_own: bool = False
    needs_reason: bool = False
    deadline_minutes: int | None = None
    on_deadline: str = OnDeadline.ESCALATE.value
    escalate_to: tuple[str, ...] = ()
    on_crash: str = OnCrash.ASK.value
    may_edit: Editable = None
    """Which channels and arguments people may change; None for all."""
    edit_needs_another: bool = False
    """Who proposes an edit, an answer or a skip is no approver of it, and has no vote on later questions."""

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> "Rule":
        """Read what `as_dict` wrote. Questions from before there were policies have the default rule."""
        voters = tuple(Voters(tuple(each["people"]), tuple(each["groups"])) for each in plain.get("voters", ()))
        entries = plain.get("may_edit")
        may_edit = None if entries is None else tuple(entries)
        escalate_to = tuple(plain.get("escalate_to", ()))
        return cls(**{**plain, "voters": voters, "escalate_to": escalate_to, "may_edit": may_edit})

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def covers(self, other: "Rule") -> bool:
        """Return whether a decision that is valid under this rule is valid under `other` as well."""
        return (
            self.approvals >= other.approvals
            and set(self.voters) >= set(other.voters)
            and (other.may_decide_own or not self.may_decide_own)
            and (self.needs_reason or not other.needs_reason)
            and (self.edit_needs_another or not other.edit_needs_another)
            and (other.may_edit is None or editable.both(self.may_edit, other.may_edit) == self.may_edit)
        )


@dataclass(frozen=True)
class Proposal:
    """What people vote on when it is more than the agent asked: an edit, an answer, or to skip the node."""

    verdict: str = Verdict.APPROVE.value
    edits: Mapping[str, Any] | None = None
    answer: Any = None
    as_node: str = ""
    seen_preview: str = ""
    is_answered: bool = False
    """An answer was given; it may be null."""
    by: str = ""
    """Who proposed it first; who says the same later only agrees."""
    preview: Mapping[str, Any] | None = None
    """What the edit or skip leads to, from `previews.of_ballot`. The other voters see it. No whole states."""

    @property
    def is_plain(self) -> bool:
        return self.verdict == Verdict.APPROVE and self.says_nothing

    @property
    def says_nothing(self) -> bool:
        return not self.edits and not self.is_answered

    def agrees_with(self, other: "Proposal") -> bool:
        """Return whether a vote for this proposal supports `other`: the same verdict, and the same content or none.

        The same content that by now leads to something else does not agree.
        """
        is_same = (self.content, self.seen_preview) == (other.content, other.seen_preview)
        return self.verdict == other.verdict and (self.says_nothing or is_same)

    @property
    def content(self) -> str:
        """Return a digest of the content. Python's `==` would take 1, 1.0 and True for the same."""
        return content_digest(edits=self.edits or {}, answer=self.answer, as_node=self.as_node)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def digest_with(shown_digest: str, proposal: Mapping[str, Any] | None) -> str:
    """Return the digest of what is decided: the agent's question together with the proposal."""
    return digest([shown_digest, proposal]) if proposal else shown_digest


def answer_digest(*, verdict: str, edits: Any, answer: Any, as_node: str, comment: str) -> str:
    """Return the digest of the answer that the graph will receive."""
    return digest([verdict, edits, answer, as_node, comment])


def content_digest(*, edits: Any, answer: Any, as_node: str) -> str:
    """Name what of the answer is no text of a person: it stays checkable when a comment is erased."""
    return digest([edits, answer, as_node])


def bytes_digest(bound: Any) -> str:
    """Name all stored bytes that a question is bound to, as the audit log has it; empty if it is bound to no bytes."""
    return digest(bound) if bound else ""


def preview_digest(seen_preview: str) -> dict[str, str]:
    """Return the digest of the shown preview, if there was one, as entries have it."""
    return {"preview": seen_preview} if seen_preview else {}


def rule_from_metadata(plain: Any) -> Rule:
    """Read `metadata={"approval": {"policy": {...}}}` of a node. Raises ValueError with what to write instead."""
    known = {field.name: field for field in fields(Rule)}.keys() - {"source", "voters"} | {"people", "groups"}
    if not isinstance(plain, Mapping) or not known >= plain.keys():
        raise ValueError(f"a policy takes {_listed(sorted(known))}")
    rule = {"source": "the graph's metadata", **{name: plain[name] for name in plain if name in known}}
    people, groups = _names(rule.pop("people", ())), _names(rule.pop("groups", ()))
    rule["voters"] = (Voters(people, groups),) if people or groups else ()
    rule["escalate_to"] = _names(rule.get("escalate_to", ()))
    rule["may_edit"] = editable.checked(rule.get("may_edit"))
    return _checked(Rule(**rule))


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) and name for name in value):
        raise ValueError("people, groups and escalate_to are lists of names")
    return tuple(value)


def _checked(rule: Rule) -> Rule:
    def is_count(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 1

    if not is_count(rule.approvals) or rule.approvals > MOST_APPROVALS:
        raise ValueError(f"approvals is a whole number from 1 to {MOST_APPROVALS}")
    if rule.deadline_minutes is not None:
        if not is_count(rule.deadline_minutes) or rule.deadline_minutes > MOST_MINUTES:
            raise ValueError(f"deadline_minutes is a whole number from 1 to {MOST_MINUTES}, or left out")
    if rule.on_deadline not in OnDeadline.values or rule.on_crash not in OnCrash.values:
        raise ValueError("on_deadline is deny or escalate, on_crash is ask or resume")
    for name in ("one_reject_ends", "may_decide_own", "needs_reason", "edit_needs_another"):
        if not isinstance(getattr(rule, name), bool):
            raise ValueError(f"{name} is true or false")
    return rule


def strictest(rules: Sequence[Rule]) -> Rule:
    """Combine the rules of gates that wait together: each requirement of any of them holds."""
    if len(set(rules)) == 1:
        return rules[0]
    timed = [rule for rule in rules if rule.deadline_minutes is not None]
    return Rule(
        source=" + ".join(dict.fromkeys(rule.source for rule in rules)),
        approvals=max(rule.approvals for rule in rules),
        voters=tuple(dict.fromkeys(voters for rule in rules for voters in rule.voters)),
        one_reject_ends=any(rule.one_reject_ends for rule in rules),
        may_decide_own=all(rule.may_decide_own for rule in rules),
        needs_reason=any(rule.needs_reason for rule in rules),
        deadline_minutes=min((rule.deadline_minutes or 0 for rule in timed), default=None),
        on_deadline="deny" if any(rule.on_deadline == "deny" for rule in timed) else "escalate",
        escalate_to=tuple(dict.fromkeys(name for rule in rules for name in rule.escalate_to)),
        on_crash="ask" if any(rule.on_crash == "ask" for rule in rules) else "resume",
        may_edit=functools.reduce(editable.both, (rule.may_edit for rule in rules)),
        edit_needs_another=any(rule.edit_needs_another for rule in rules),
    )


def tally(rule: Rule, *, approving: int, rejecting: int, voters: int) -> Literal["approve", "reject", ""]:
    """Return what the votes come to. `voters` is how many people may vote: with too few left, it is rejected."""
    if rejecting and (rule.one_reject_ends or voters - rejecting < rule.approvals):
        return "reject"
    return "approve" if approving >= rule.approvals else ""


def why_not_vote(
    *, verdict: str, allowed: Collection[str], why_not: str, comment: str, has_edits: bool, needs_reason: bool = False
) -> str:
    """Return why this verdict cannot be taken on this approval, or an empty string."""
    if verdict not in allowed:
        return why_not or f"This approval takes {_listed(allowed)}, not {verdict}."
    if verdict == "reject" and not comment.strip():
        return "Say why you reject: the reason goes into the record."
    if needs_reason and not comment.strip():
        return "Say why: the policy asks for a reason with every vote, and it goes into the record."
    if verdict == "reject" and has_edits:
        return "A rejection takes no edits. Approve with the edit, or reject without it."
    if any(char == "\0" or "\ud800" <= char <= "\udfff" for char in comment):
        return "The comment holds a character that cannot be stored. Type it again without it."
    if len(comment) > LONGEST_COMMENT:
        return f"The comment is longer than {LONGEST_COMMENT} characters."
    return ""


def why_not_claimed(*, claimed_by: str, claimed_until: datetime | None, now: datetime, voter: str) -> str:
    """Return who holds the approval if it is somebody else, or an empty string."""
    if not claimed_by or claimed_by == voter or claimed_until is None or claimed_until <= now:
        return ""
    left = max(1, round((claimed_until - now).total_seconds() / 60))
    return f"{claimed_by} is reviewing this, {left} min left. Take it over to decide it now."


def is_expired(rule: Rule, *, due_at: datetime | None, now: datetime, allowed: Collection[str]) -> bool:
    """Return whether the deadline has passed and the policy then rejects."""
    return due_at is not None and due_at <= now and rule.on_deadline == "deny" and "reject" in allowed


def why_not_expired(rule: Rule, *, due_at: datetime | None, now: datetime, allowed: Collection[str]) -> str:
    """Return a sentence where `is_expired`, or an empty string."""
    is_over = is_expired(rule, due_at=due_at, now=now, allowed=allowed)
    return "The time to decide this is over; it is being rejected." if is_over else ""


def why_not_held(*, status: str) -> str:
    """Return a sentence while a run holds the thread, or an empty string."""
    return THREAD_HELD if status == "busy" else ""


def why_not_unopened(*, parts: Sequence[str]) -> str:
    """Return which parts a person has to open, or see the end of, before a yes; or an empty string."""
    folded = [part for part in parts if part == ALL_ACTIONS or part.startswith(("action/", "proposal/"))]
    cut = [part.removeprefix("state/") for part in parts if part not in folded]
    if cut:
        return f"Open the whole of {_few(cut)} first: only its beginning is shown here."
    ends = list(dict.fromkeys(map(_end_of, folded)))
    return f"See {_few(ends)} to the end first: it is taller than a screen." if ends else ""


def _end_of(part: str) -> str:
    if part == ALL_ACTIONS:
        return "all actions"
    return "all arguments" if part.count("/") == 1 else part.split("/", 2)[-1]


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def why_not_edit(*, waiting: Collection[str]) -> str:
    """Return why the state cannot be edited, or a node skipped, at this pause; or an empty string."""
    if len(waiting) < 2:
        return ""
    # Seen with LangGraph 1.2: aupdate_state counts for one branch; the others are dropped without running or asking.
    return "Several nodes wait here at once, and an edit would drop all but one of them. Approve or reject as it is."


def why_not_edit_sent(*, is_sent: bool) -> str:
    """Return why the state cannot be edited while a task waits that a `Send` started; or an empty string."""
    # Seen with LangGraph 1.2: aupdate_state drops pending Sends, or has the node's edges send others.
    return SENDS_WAIT if is_sent else ""


def why_not_edit_blocked(*, blocked: Sequence[str]) -> str:
    """Return why a state with types that were not built cannot be edited. It can be approved or rejected."""
    return blocked_sentence(blocked) if blocked else ""


def why_not_edited(rule: Rule, names: Collection[str]) -> str:
    """Return why the policy lets people change none of these channels or arguments, or an empty string."""
    if any(editable.is_ajar(rule.may_edit, [name]) for name in names):
        return ""
    return why_closed(rule)


def why_closed(rule: Rule) -> str:
    """Say which parts the policy lets people change."""
    if rule.may_edit is None:
        return ""
    what = f"only {_listed(rule.may_edit)}" if rule.may_edit else "nothing"
    return f"The policy ({rule.source}) lets {what} be edited here."


def why_not_start(*, status: str, is_cleaned: bool) -> str:
    """Return why the thread takes no new input, or an empty string."""
    if is_cleaned:
        return "This thread was force-cleaned. Start a new one."
    if status == "interrupted":
        return "The thread waits for people: new input would drop their question. Decide it first."
    if sentence := why_not_held(status=status):
        return sentence
    if status == "error":
        return "The last run of this thread needs a person. Retry it or give it up first."
    return ""


def why_not_go_on(*, waiting: Sequence[str], refusal: str, was_asked: bool) -> str:
    """Return why the thread cannot go on from its checkpoint, or an empty string.

    `was_asked`: people were asked there.
    """
    if refusal:
        return refusal
    if not waiting:
        return "Nothing waits on this thread: give it input."
    if was_asked:
        return "People were asked here, and how it went on was given up. Have it asked again, or fork it."
    return ""


def why_not_ask_again(*, status: str, is_cleaned: bool, can_be_answered: Sequence[bool]) -> str:
    """Return why no question of the thread can be asked again.

    `can_be_answered` says it of each question asked there.
    """
    if is_cleaned:
        return "This thread was force-cleaned."
    if sentence := why_not_held(status=status):
        return sentence
    if not can_be_answered:
        return "This thread does not stand at a question, so there is nothing to ask again."
    if all(can_be_answered):
        return "The question waits already: answer it."
    return ""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "no verdict"
