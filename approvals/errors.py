"""Refusals. Each has the HTTP status and the code that the API and the pages show.

Refusal
 +-- Denied        403  this person may not
 +-- NotFound      404  no such thing, or not for this person
 +-- Conflict      409
 |    +-- AlreadyDecided    somebody was first
 |    +-- Stale             the thread moved since the person looked
 |    +-- OtherPreview      an edit leads to something else than the person was shown
 |    +-- AlreadyVoted      a person has one vote
 |    +-- Claimed           somebody else is reviewing it
 |    +-- Busy              a run holds the thread
 |    +-- KeyReused         the idempotency key belongs to another request
 |    +-- AlreadyExists     a thread of this id exists
 |    +-- Undecided         nobody has decided yet
 |    +-- Unbound           it is not certain which graph the thread is of
 |    +-- Unopened          something is cut on the page, and was not opened whole
 |    +-- Altered           what is stored is not what was asked
 |    +-- Unvouched         it rests on something that the audit log does not know
 +-- Gone          410
 |    +-- Superseded        the question is no longer asked
 |    +-- Expired           nobody decided in time
 |    +-- LinkUsed          a sign-in link works once
 +-- TooLarge      413
 +-- Invalid       422
 |    +-- InvalidEdit       with a path for each fault
 |    +-- InvalidAnswer     with a path for each fault
 +-- NotOffered    501  a LangGraph server has it, this one does not
 +-- Unavailable   503  something this needs is down; try again
"""

from typing import Any

THREAD_CLEANED = "This thread was force-cleaned; its checkpoints are gone."


class Refusal(Exception):
    """An error for people: what happened, to which thing, what to do next. Never contains a password or a state."""

    status = 400
    code = "refused"
    title = "That did not work"

    def __init__(self, message: str, **detail: Any) -> None:
        self.message = message
        self.detail = detail
        super().__init__(message)


class Denied(Refusal):
    status, code, title = 403, "denied", "Not yours to do"


class NotFound(Refusal):
    status, code, title = 404, "not_found", "Not found"


class Conflict(Refusal):
    status, code, title = 409, "conflict", "Somebody was faster"


class AlreadyDecided(Conflict):
    code, title = "already_decided", "Already decided"


class Stale(Conflict):
    code, title = "stale", "Changed since you looked"


class OtherPreview(Conflict):
    code, title = "other_preview", "Not what the preview showed"


class AlreadyVoted(Conflict):
    code, title = "already_voted", "You voted already"


class Claimed(Conflict):
    code, title = "claimed", "Somebody is reviewing it"


class Busy(Conflict):
    code, title = "busy", "The thread is busy"


class KeyReused(Conflict):
    code, title = "key_reused", "This key was used before"


class AlreadyExists(Conflict):
    code, title = "already_exists", "It exists already"


class Undecided(Conflict):
    code, title = "undecided", "Not decided yet"


class Unbound(Conflict):
    code, title = "unbound", "Its graph is not certain"


class Unopened(Conflict):
    code, title = "unopened", "Open it whole first"


class Altered(Conflict):
    code, title = "altered", "Not what was asked"


class Unvouched(Conflict):
    code, title = "unvouched", "The log does not know the rule"


class Gone(Refusal):
    status, code, title = 410, "gone", "No longer asked"


class Superseded(Gone):
    code = "superseded"


class Expired(Gone):
    code, title = "expired", "Too late"


class LinkUsed(Gone):
    code, title = "link_used", "This link no longer works"


class TooLarge(Refusal):
    status, code, title = 413, "too_large", "Too large"


class Invalid(Refusal):
    status, code, title = 422, "invalid", "Something needs mending"


class InvalidEdit(Invalid):
    code = "invalid_edit"


class InvalidAnswer(Invalid):
    code = "invalid_answer"


class NotOffered(Refusal):
    status, code, title = 501, "not_offered", "Not offered here"


class Unavailable(Refusal):
    status, code, title = 503, "unavailable", "Not available right now"
