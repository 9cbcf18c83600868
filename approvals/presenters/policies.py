"""A rule as sentences."""

from collections.abc import Iterable

from approvals.domain.policies import Rule, Voters
from approvals.enums import OnCrash, OnDeadline


def sentences_of(rule: Rule) -> list[str]:
    """Return everything that a rule demands, one thing a sentence."""
    return [
        "One approval decides." if rule.approvals == 1 else f"{rule.approvals} people must approve the same.",
        who_votes(rule),
        "Who gave the thread its input may vote too."
        if rule.may_decide_own
        else "Who gave the thread its input, forked or replayed it may not vote.",
        *(
            ["Who proposes an edit or an answer does not count as an approver of it."]
            if rule.edit_needs_another
            else []
        ),
        *([may_edit(rule)] if rule.may_edit is not None else []),
        "One rejection ends it." if rule.one_reject_ends else "It is rejected when too few are left to approve it.",
        *(["Every vote needs a reason."] if rule.needs_reason else []),
        *([_deadline(rule)] if rule.deadline_minutes is not None else []),
        "If a worker dies on the way, the run goes on: the node may run twice."
        if rule.on_crash == OnCrash.RESUME
        else "If a worker dies while the node may have been running, a person is asked.",
    ]


def who_votes(rule: Rule) -> str:
    """Say who may vote. Of gates that wait together each names some: a voter must be among each of them."""
    if not rule.voters:
        return "Every reviewer may vote."
    each = [f"{_named(voters)}" for voters in rule.voters]
    return f"Of the reviewers, {' who are also '.join(each)} may vote."


def may_edit(rule: Rule) -> str:
    """Say what may be edited."""
    if rule.may_edit is None:
        return "Everything may be edited."
    return f"Only {listed(rule.may_edit, 'and')} may be edited." if rule.may_edit else "Nothing may be edited."


def _named(voters: Voters) -> str:
    groups = f"members of {listed(voters.groups, 'or')}" if voters.groups else ""
    return listed([*voters.people, *filter(None, [groups])], "or")


def _deadline(rule: Rule) -> str:
    time = span(rule.deadline_minutes or 0)
    if rule.on_deadline == OnDeadline.DENY:
        return f"Without a decision after {time} it is rejected."
    return f"Without a decision after {time} {escalated_to(rule)} may vote as well."


def escalated_to(rule: Rule) -> str:
    return f"members of {listed(rule.escalate_to, 'and')}" if rule.escalate_to else "every reviewer"


def span(minutes: int) -> str:
    """Format a span of time in the largest unit that divides it."""
    for unit, size in (("day", 1440), ("hour", 60)):
        if minutes % size == 0:
            return f"{minutes // size} {unit}{'' if minutes == size else 's'}"
    return f"{minutes} minute{'' if minutes == 1 else 's'}"


def listed(names: Iterable[str], word: str) -> str:
    """Join names: `a, b and c`."""
    *first, last = names
    return f"{', '.join(first)} {word} {last}" if first else last
