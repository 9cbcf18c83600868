"""The steps that a diagnosis offers: who may take each, and which call does it."""

from approvals.domain.diagnosis.facts import AdvisedStep, Asked, Facts, RunFacts
from approvals.programs import typed

WORKER_COMMAND, BOTH_COMMAND = typed("procrastinate worker"), typed("serve")


def decide(asked: Asked) -> AdvisedStep:
    who, call = voters(asked), f"POST /api/approvals/{asked.id}/votes"
    return AdvisedStep("decide", f"Decide “{asked.title}”", permission="vote", who=who, call=call, target=asked.id)


def voters(asked: Asked) -> str:
    """Say who may decide. By default nobody approves what they started."""
    return (asked.voters or "reviewers") + (f", but not {asked.not_by}" if asked.not_by else "")


def retry(run: RunFacts, why: str = "") -> AdvisedStep:
    return AdvisedStep("retry", "Retry the run", why, "retry_run", call=f"POST /api/runs/{run.id}/retry", target=run.id)


def give_up(run: RunFacts) -> AdvisedStep:
    why, call = "nothing more runs", f"POST /api/runs/{run.id}/give_up"
    return AdvisedStep("give_up", "Give the run up", why, "retry_run", call=call, target=run.id)


def cancel(run: RunFacts, why: str = "") -> AdvisedStep:
    call = f"POST /api/runs/{run.id}/cancel"
    return AdvisedStep("cancel", "Cancel the run", why, "retry_run", call=call, target=run.id)


def ask_again(f: Facts) -> AdvisedStep:
    why = "the stored answer is taken back, and a new approval opens"
    return AdvisedStep("ask_again", "Ask again", why, "retry_run", call=f"POST {f.path}/ask_again")


def ask_again_if(f: Facts) -> tuple[AdvisedStep, ...]:
    return (ask_again(f),) if f.can_ask_again else ()


def start(f: Facts) -> AdvisedStep:
    why = "the graph begins from its start, with the state as it is" if f.checkpoint_id else ""
    return AdvisedStep("start", "Give it new input", why, "start_run", call=f"POST {f.path}/runs", target=f.graph_id)


def go_on_if(f: Facts) -> tuple[AdvisedStep, ...]:
    if not f.can_go_on:
        return ()
    why = "from where it stands, with no input"
    return (AdvisedStep("go_on", "Run it on", why, "start_run", call=f"POST {f.path}/runs", target=f.graph_id),)


def fork(f: Facts) -> AdvisedStep:
    why = "the new thread stands where this one does, or did; this one stays as it is"
    return AdvisedStep("fork", "Fork it from a checkpoint of its history", why, "fork", call=f"POST {f.path}/fork")


def clean(f: Facts) -> AdvisedStep:
    return AdvisedStep("clean", "Force-clean it", "if nobody needs it any more", "force_clean", call=f"DELETE {f.path}")


def bind(f: Facts) -> AdvisedStep:
    why = "then it is read with that graph, and what waits is asked"
    return AdvisedStep("bind", "Say which graph it is of", why, "bind", call=f"POST {f.path}/binding")


def operate(action: str, text: str, why: str = "", who: str = "whoever runs the agent") -> AdvisedStep:
    return AdvisedStep(action, text, why, who=who)


def add_graph(f: Facts) -> AdvisedStep:
    why = "under the name it had; what waits is taken up then"
    return operate("graph", f"Add graph {f.graph_id} to langgraph.json and restart the worker", why)


def need_worker(f: Facts) -> tuple[AdvisedStep, ...]:
    """Return the step that starts a worker; empty while a worker with this graph is alive."""
    if f.has_graph_worker:
        return ()
    if f.is_graph_gone:
        return (add_graph(f),)
    return (operate("worker", "Start a worker", f"{WORKER_COMMAND}, or {BOTH_COMMAND}", "whoever runs the console"),)


def wait_for_lease(left: str) -> AdvisedStep:
    return AdvisedStep("wait", "Wait", f"the lease ends in {left}, then recovery looks")
