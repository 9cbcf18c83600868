"""Does the state allow it? Plain values in; a sentence that refuses, or an empty string. No database, no clock."""

from collections.abc import Collection

LONGEST_COMMENT = 5_000


def why_not_vote(*, verdict: str, allowed: Collection[str], why_not: str, comment: str, has_edits: bool) -> str:
    """Say why this verdict cannot be taken on this approval."""
    if verdict not in allowed:
        return why_not or f"This approval takes {_listed(allowed)}, not {verdict}."
    if verdict == "reject" and not comment.strip():
        return "Say why you reject: the reason goes into the record."
    if verdict == "reject" and has_edits:
        return "A rejection takes no edits. Approve with the edit, or reject without it."
    if len(comment) > LONGEST_COMMENT:
        return f"The comment is longer than {LONGEST_COMMENT} characters."
    return ""


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
