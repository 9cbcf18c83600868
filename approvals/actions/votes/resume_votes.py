"""Votes that come as `command.resume`, as LangGraph's own clients answer what a thread asks."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from agentcore import dialects
from agentcore.plain.json import canonical
from approvals.actions.runs import joins, starts
from approvals.actions.votes import checks, votes
from approvals.actions.votes.ballots import Ballot, Voted
from approvals.actions.votes.bulk import MOST_BALLOTS
from approvals.domain import answers, permissions, run_options, voters
from approvals.domain.permissions import User
from approvals.domain.policies import Rule
from approvals.enums import Verdict
from approvals.errors import Busy, Invalid, InvalidAnswer, NotFound, Refusal, Stale, Undecided
from approvals.models import Approval, Graph, Run, Thread

_HEX = frozenset("0123456789abcdef")
_LENGTH_OF_IDS = 32
_MOST_NAMED = 50
AT_A_BREAKPOINT = (
    "This thread stands at a breakpoint. Send true to approve, or a vote such as"
    ' {"verdict": "reject", "comment": "..."}.'
)
OF_LAST_INPUT = "Context, config and gates stay those of the last input while people are asked. Leave them out."
IGNORED = "Sent as `ignore`, which has no place for a reason."
_IN_BALLOT = ("verdict", "edits", "answer", "as_node", "comment", "seen_digest")


def cast(
    *,
    thread_id: str,
    graph_id: str,
    resume: Any,
    by: User,
    context: Any = None,
    config: Any = None,
    gates: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
    stands_at: str = "",
    key: str | None = None,
) -> Run:
    """Cast this person's vote on what the thread asks, and return the run of the decision.

    Several answers, keyed by interrupt id, are given one after the other. Raises Undecided if the votes count and
    others have to vote too, Stale if nothing waits under that id, and what `votes.cast` raises; its detail then says
    which were `answered` before.
    """
    permissions.check_view(by)
    thread = Thread.objects.filter(pk=thread_id).defer("state").first()
    if thread is None:
        raise NotFound("There is no such thread.")
    if thread.bound_by and thread.graph_id != graph_id:
        raise Busy(f"This thread belongs to the graph {thread.graph_id}. Name that one as the assistant.")
    _check_options(thread, context=context, config=config, gates=gates)
    run_options.check_metadata(metadata or {})
    starts.check_stands_at(thread_id, stands_at)
    run = _cast_all(_ballots(_addressed(thread, resume), key), by)
    if metadata:
        run.metadata = metadata
        Run.objects.filter(pk=run.pk).update(metadata=metadata)
    return run


def _check_options(thread: Thread, **given: Any) -> None:
    graph = Graph.objects.filter(pk=thread.graph_id).first() if any(given.values()) else None
    options = run_options.options_of(graph.record, **given) if graph else {}
    if any(thread.options.get(name) != value for name, value in options.items()):
        raise Invalid(OF_LAST_INPUT)


def _addressed(thread: Thread, resume: Any) -> list[tuple[Approval, Any]]:
    """Return each question that is answered, with its answer. LangGraph, too, takes 32 hex digits for an id."""
    waiting = list(Approval.objects.pending().filter(thread=thread).oldest_first().defer("state"))
    if isinstance(resume, dict) and resume and all(map(_is_id, resume)):
        known = {each.interrupt_id: each for each in waiting} | _closed(thread, resume.keys())
        if unknown := sorted(resume.keys() - known.keys()):
            told = f"The thread asks nothing under the id {unknown[0]}. Read it again."
            raise Stale(told, waiting=_ids(waiting))
        return [(known[interrupt_id], value) for interrupt_id, value in resume.items()]
    if not waiting:
        raise Stale("The thread asks nothing now. Read it again.", waiting=[], status=thread.status)
    if len(waiting) > 1:
        told = f"{len(waiting)} questions wait: send an object with the answer to each by its interrupt id."
        raise Stale(told, waiting=_ids(waiting))
    return [(waiting[0], resume)]


def _is_id(name: str) -> bool:
    return len(name) == _LENGTH_OF_IDS and _HEX.issuperset(name)


def _ids(waiting: Sequence[Approval]) -> list[str]:
    return [each.interrupt_id for each in waiting[:_MOST_NAMED] if each.interrupt_id]


def _closed(thread: Thread, ids: Any) -> dict[str, Approval]:
    """Return questions that nobody can answer any more: a vote on one says who decided it, and how."""
    found = Approval.objects.decided().filter(thread=thread, interrupt_id__in=list(ids)).defer("state")
    return {each.interrupt_id: each for each in found.order_by("round", "created_at")}


def _ballots(asked: Sequence[tuple[Approval, Any]], key: str | None) -> list[tuple[Approval, Ballot]]:
    """Return the votes, each with a key of its own. Nothing is cast if one of several answers does not fit."""
    if len(asked) == 1:
        return [(approval, _ballot(approval, value, key)) for approval, value in asked]
    if len(asked) > MOST_BALLOTS:
        raise Invalid(f"Send at most {MOST_BALLOTS} answers at a time.")
    keys = [f"{key} {place}" if key else None for place in range(len(asked))]
    ballots = [(approval, _ballot(approval, value, own)) for (approval, value), own in zip(asked, keys, strict=True)]
    for approval, ballot in ballots:
        if ballot.is_answered and approval.is_pending:
            with _about(approval):
                checks.check_answer(approval, ballot.answer)
    return ballots


def _cast_all(ballots: Sequence[tuple[Approval, Ballot]], by: User) -> Run:
    """Cast the votes, and return the run of the last decision. Each run has to stop before the next vote."""
    answered: list[str] = []
    undecided: Undecided | None = None
    run: Run | None = None
    for approval, ballot in ballots:
        if run:
            joins.join_run(thread_id=approval.thread_id, run_id=run.pk)
        try:
            run = _decided(approval, ballot, by)
            answered.append(approval.interrupt_id)
        except Undecided as told:
            undecided = told
        except Refusal as refused:
            refused.detail["answered"] = answered
            raise
    if undecided or run is None:
        assert undecided is not None, "each vote decides, or does not"
        undecided.detail["answered"] = answered
        raise undecided
    return run


def _decided(approval: Approval, ballot: Ballot, by: User) -> Run:
    """Vote on one question, and return the run of the decision. Raises Undecided if there is none."""
    with _about(approval):
        voted = votes.cast(approval_id=approval.pk, ballot=ballot, by=by)
        if voted.run is None:
            raise _undecided(approval, voted, by)
    return voted.run


@contextmanager
def _about(approval: Approval) -> Iterator[None]:
    """Have each refusal say which approval it is about, and where people decide it."""
    try:
        yield
    except Refusal as refused:
        refused.detail.setdefault("approval", str(approval.pk))
        refused.detail.setdefault("address", approval.address)
        raise


def _undecided(approval: Approval, voted: Voted, by: User) -> Undecided:
    rule = Rule.of(approval.rule)
    others = " and of ".join(str(each) for each in rule.voters if each.is_limited()) or "the reviewers"
    more = f"{voted.missing} more of {others} must approve it." if voted.missing else "Others have to vote as well."
    is_escalated = approval.escalated_at is not None
    without = [by.get_username(), *approval.votes.counting().values_list("voter__username", flat=True)]
    may = voters.people(rule, without=without, asked_at=approval.asked_at, is_escalated=is_escalated)
    return Undecided(
        f"Your vote counts, and the thread goes on when it is decided: {more}",
        vote=str(voted.vote.pk),
        required_votes=voted.required_votes,
        approvals_so_far=voted.approvals_so_far,
        may_vote=list(may.order_by("username").values_list("username", flat=True)[:_MOST_NAMED]),
    )


def _ballot(approval: Approval, value: Any, key: str | None) -> Ballot:
    """Return the vote that an answer stands for: a plain yes or no where it is one, so that it agrees with others'."""
    said = _at_breakpoint(value) if answers.is_edited_beside(approval) else _of_question(approval, value)
    seen_digest = said.pop("seen_digest", None) or _seen(approval, said)
    edits = said.pop("edits", None) or {}
    return Ballot(**said, edits=edits, seen_digest=seen_digest, is_answered="answer" in said, idempotency_key=key)


def _at_breakpoint(value: Any) -> dict[str, Any]:
    """LangGraph goes on whatever is sent; here only what says so is a yes."""
    if value is True or value == Verdict.APPROVE:
        return {"verdict": Verdict.APPROVE.value}
    if isinstance(value, dict) and value.keys() == {"decisions"}:
        return {"verdict": Verdict.RESPOND.value, "answer": value}
    is_ballot = isinstance(value, dict) and value.get("verdict") in Verdict.values and value.keys() <= set(_IN_BALLOT)
    if not is_ballot:
        raise InvalidAnswer(AT_A_BREAKPOINT)
    texts = {name: value.get(name) or "" for name in ("as_node", "comment", "seen_digest")}
    if not all(isinstance(text, str) for text in texts.values()):
        raise InvalidAnswer(AT_A_BREAKPOINT)
    return {**value, **texts}


def _of_question(approval: Approval, value: Any) -> dict[str, Any]:
    value = _as_asked(approval, value)
    answered = {"verdict": Verdict.RESPOND.value, "answer": value}
    if not answers.is_about_actions(approval) or answers.faults_in(approval, value):
        return answered
    question = answers.question_of(approval)
    reason = _reason(approval, [choice.message for choice in dialects.choices_in(question, value)])
    for verdict, comment in ((Verdict.APPROVE, ""), (Verdict.REJECT, reason)):
        is_open = verdict in approval.allowed_verdicts and (comment or verdict == Verdict.APPROVE)
        if is_open and canonical(dialects.plain_answer(question, verdict, comment)) == canonical(value):
            return {"verdict": verdict.value, "comment": comment}
    return {**answered, "comment": reason if reason != IGNORED else ""}


def _reason(approval: Approval, messages: Sequence[str]) -> str:
    """Return why somebody rejects, as far as the answer says so: its format may have no place for it."""
    is_to_give = Rule.of(approval.rule).needs_reason
    given = "\n".join(dict.fromkeys(filter(None, messages)))
    return given or ("" if approval.kind != "legacy" or is_to_give else IGNORED)


def _seen(approval: Approval, said: Mapping[str, Any]) -> str:
    """Return the digest of what this person can have seen: what the agent asks, or a proposal that says the same."""
    proposal = approval.proposal
    if proposal and "answer" in said and not proposal["edits"]:
        is_same = canonical(proposal["answer"]) == canonical(said["answer"])
        if is_same and proposal["verdict"] == said["verdict"]:
            return approval.digest
    return approval.shown_digest


def _as_asked(approval: Approval, value: Any) -> Any:
    """Mend what Agent Inbox sends. It repeats the call with a yes, sends arguments that are no texts as texts, and
    writes each decision in its own format, also where the agent asked in that of LangChain's middleware.
    """
    decided = value.get("decisions") if approval.kind == "hitl_batched" and isinstance(value, dict) else value
    if approval.kind not in ("legacy", "hitl_batched") or not isinstance(decided, list):
        return value
    if len(decided) != len(approval.actions):
        return value
    mended = [_mended(each, action) for each, action in zip(decided, approval.actions, strict=True)]
    return mended if approval.kind == "legacy" else {**value, "decisions": [_of_middleware(each) for each in mended]}


def _mended(decided: Any, action: Mapping[str, Any]) -> Any:
    call = decided.get("args") if isinstance(decided, dict) else None
    if not isinstance(call, dict) or not isinstance(call.get("args"), dict):
        return decided
    args = {name: _typed(text, action["args"].get(name)) for name, text in call["args"].items()}
    is_yes = decided.get("type") in ("accept", "approve")
    is_as_asked = is_yes and call.get("action") == action["name"] and canonical(args) == canonical(action["args"])
    return {**decided, "args": None if is_as_asked else {**call, "args": args}}


def _of_middleware(decided: Any) -> Any:
    """Return a decision of Agent Inbox as the middleware takes it; any other stays as it is."""
    if not isinstance(decided, dict) or decided.keys() != {"type", "args"}:
        return decided
    match decided:
        case {"type": "approve", "args": None}:
            return {"type": "approve"}
        case {"type": "edit", "args": {"action": name, "args": args}}:
            return {"type": "edit", "edited_action": {"name": name, "args": args}}
        case {"type": "reject", "args": str(message)}:
            return {"type": "reject", "message": message}
    return decided


def _typed(given: Any, asked: Any) -> Any:
    """Return a text as the value that it writes, where one of that type was asked about."""
    if not isinstance(given, str) or isinstance(asked, str) or asked is None:
        return given
    try:
        read = json.loads(given)
    except ValueError:
        return given
    is_number = all(type(each) in (int, float) for each in (read, asked))
    return read if is_number or type(read) is type(asked) else given
