"""Does the state allow it? Plain values in; a sentence that refuses, or an empty string. No database, no clock."""

from collections.abc import Collection, Sequence

from agentcore.strict import blocked_sentence

LONGEST_COMMENT = 5_000


def why_not_vote(*, verdict: str, allowed: Collection[str], why_not: str, comment: str, has_edits: bool) -> str:
    """Say why this verdict cannot be taken on this approval."""
    if verdict not in allowed:
        return why_not or f"This approval takes {_listed(allowed)}, not {verdict}."
    if verdict == "reject" and not comment.strip():
        return "Say why you reject: the reason goes into the record."
    if verdict == "reject" and has_edits:
        return "A rejection takes no edits. Approve with the edit, or reject without it."
    if any(char == "\0" or "\ud800" <= char <= "\udfff" for char in comment):
        return "The comment holds a character that cannot be stored. Type it again without it."
    if len(comment) > LONGEST_COMMENT:
        return f"The comment is longer than {LONGEST_COMMENT} characters."
    return ""


def why_not_edit(*, waiting: Collection[str]) -> str:
    """Say why the state cannot be edited, or a node skipped, at this pause."""
    if len(waiting) < 2:
        return ""
    # Seen with LangGraph 1.2: aupdate_state counts for one branch; the others are dropped without running or asking.
    return "Several nodes wait here at once, and an edit would drop all but one of them. Approve or reject as it is."


def why_not_edit_blocked(*, blocked: Sequence[str]) -> str:
    """Say why a state cannot be edited of which types were not built. It can be approved or rejected as it is."""
    return blocked_sentence(blocked) if blocked else ""


def why_not_own_run(*, started_by: str, voter: str) -> str:
    """Nobody approves what they started."""
    return "You started this thread, so somebody else must decide." if started_by and started_by == voter else ""


def why_not_start(*, status: str, is_cleaned: bool) -> str:
    """Say why new input cannot be given to a thread."""
    if is_cleaned:
        return "This thread was force-cleaned. Start a new one."
    if status == "interrupted":
        return "The thread waits for people: new input would drop their question. Decide it first."
    if status == "busy":
        return "A run holds this thread. Wait until it stops."
    if status == "error":
        return "The last run of this thread needs a person. Retry it or give it up first."
    return ""


def _listed(names: Collection[str]) -> str:
    return ", ".join(names) or "no verdict"
