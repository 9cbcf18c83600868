"""The states of rows, each with the sentence that people read."""

from dataclasses import dataclass

from django.db.models import TextChoices


class ThreadStatus(TextChoices):
    """The values of the LangGraph SDK."""

    IDLE = "idle", "Nothing is running and nothing waits."
    BUSY = "busy", "A run is queued or running."
    INTERRUPTED = "interrupted", "Waits for people."
    ERROR = "error", "Stopped by an error, or needs a person to look."


class Binding(TextChoices):
    """How it is known which graph a thread belongs to."""

    RUN = "run", "The console ran that graph on it."
    METADATA = "metadata", "Its checkpoints name the graph, in `graph_id` of their metadata."
    AGENT = "agent", "Its checkpoints name an agent, and the tools and channels in them are that agent's."
    ADMIN = "admin", "An admin said so."


class ApprovalStatus(TextChoices):
    PENDING = "pending", "Waits for a decision."
    APPROVED = "approved", "Approved; the thread was handed to its graph."
    ANSWERED = "answered", "Answered; the agent was given what people decided."
    REJECTED = "rejected", "Rejected; the gated node did not run."
    SKIPPED = "skipped", "Skipped; the thread went on as if the node had run."
    EXPIRED = "expired", "Nobody decided in time, so it was rejected."
    SUPERSEDED = "superseded", "The agent moved the thread before anyone decided."
    CLEANED = "cleaned", "An admin removed the thread."


class RunKind(TextChoices):
    START = "start", "Begins with new input."
    RESUME = "resume", "Carries out a decision."
    REPAIR = "repair", "Has a question asked again."
    FORK = "fork", "Copies a checkpoint of another thread."
    REPLAY = "replay", "Goes on from an earlier checkpoint."


class RunStatus(TextChoices):
    QUEUED = "queued", "Waits for a worker."
    RUNNING = "running", "A worker runs the graph."
    PAUSED = "paused", "Done: the graph stopped for people."
    FINISHED = "finished", "Done: the graph reached its end."
    FAILED = "failed", "A node raised an error. Retry goes on from the last checkpoint."
    HELD = "held", "The worker died while a node may have been running. A person must say whether to go on."
    SUPERSEDED = "superseded", "Not carried out: the thread had moved."
    CANCELLED = "cancelled", "Given up by a person, or cleaned."


ACTIVE_RUNS = (RunStatus.QUEUED, RunStatus.RUNNING)
STUCK_RUNS = (RunStatus.FAILED, RunStatus.HELD)


class Verdict(TextChoices):
    APPROVE = "approve", "Approve"
    REJECT = "reject", "Reject"
    RESPOND = "respond", "Respond"
    SKIP = "skip", "Skip"


@dataclass(frozen=True)
class VerdictWords:
    """What people read of a verdict, and the status of an approval that was decided so."""

    button: str
    decided: str
    voted: str
    status: ApprovalStatus


VERDICT_WORDS = {
    "approve": VerdictWords("Approve", "Approved", "approved", ApprovalStatus.APPROVED),
    "edit": VerdictWords("Edit", "Edited", "edited", ApprovalStatus.APPROVED),
    "reject": VerdictWords("Reject", "Rejected", "rejected", ApprovalStatus.REJECTED),
    "respond": VerdictWords("Respond", "Answered", "answered", ApprovalStatus.ANSWERED),
    "skip": VerdictWords("Skip", "Skipped", "voted to skip", ApprovalStatus.SKIPPED),
}
"""Of each verdict, in the order in which people read them. `edit` is a verdict on one action of a question only."""


class VoteEnd(TextChoices):
    """Why a vote no longer counts."""

    WITHDRAWN = "withdrawn", "Taken back before the decision."
    CLEARED = "cleared", "Somebody proposed something else."
    LAPSED = "lapsed", "Whoever cast it may no longer vote."
    SUPERSEDED = "superseded", "The agent moved on."


class OnDeadline(TextChoices):
    """What happens when the deadline passes. A question is never approved that way."""

    DENY = "deny", "Reject it"
    ESCALATE = "escalate", "Ask others as well"


class ChangeKind(TextChoices):
    POLICY = "policy", "Policy"
    PERSON = "person", "Person"
    GROUP = "group", "Group"
    TWO_ADMINS = "two_admins", "Two-admin rule"


class ChangeStatus(TextChoices):
    """The state of a change that an admin proposed."""

    OPEN = "open", "Waits for another admin"
    CONFIRMED = "confirmed", "Confirmed"
    REFUSED = "refused", "Refused"
    WITHDRAWN = "withdrawn", "Taken back"


class OnCrash(TextChoices):
    """What happens when a worker died while a node may have been running."""

    ASK = "ask", "Ask a person"
    RESUME = "resume", "Go on: the node may run twice"


class Role(TextChoices):
    """Each role is the Django group of the same name."""

    VIEWER = "viewer", "Sees approvals and threads."
    REVIEWER = "reviewer", "Votes."
    OPERATOR = "operator", "Starts, forks, retries and skips."
    AUDITOR = "auditor", "Reads and verifies the audit log."
    ADMIN = "admin", "Skips, forks, replays, retries, reads the audit log and force-cleans threads."
