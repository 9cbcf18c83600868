"""Jobs. Each parses its arguments and makes one call. Jobs may run twice, or late; the called code copes with that.

Only a worker imports this module: Procrastinate would look for `approvals.tasks` in every process.
"""

from typing import Any

from django.conf import settings
from procrastinate import RetryStrategy
from procrastinate.contrib.django import app

from approvals.actions.audit_log import signing, verification
from approvals.actions.runs import execution, recovery, subscriptions
from approvals.actions.threads import cleaning, indexing, retirement, sweeps
from approvals.actions.votes import deadlines, trials
from approvals.actions.workers import inquiries
from approvals.database import in_database
from approvals.domain import outages
from approvals.domain.context import new_request_id


@app.task
async def execute_run(run_id: str) -> None:
    new_request_id()
    with outages.put_off("a run", run_id=run_id):
        await execution.execute_run(run_id)


@app.task
async def recover_run(run_id: str) -> None:
    new_request_id()
    with outages.put_off("the recovery of a run", run_id=run_id):
        await recovery.recover_run(run_id)


@app.task
async def index_thread(thread_id: str) -> None:
    new_request_id()
    with outages.put_off("the reading of a thread", thread_id=thread_id):
        await indexing.index_thread(thread_id)


@app.task(queue="console", retry=RetryStrategy(wait=settings.SWEEP_SECONDS))
async def empty_thread(thread_id: str) -> None:
    """Have the checkpoints of a removed thread refuse writes, and delete them. Again until their database answers."""
    await in_database(cleaning.lay_tombstone_and_empty)(thread_id)


@app.periodic(cron=f"* * * * * */{settings.SWEEP_SECONDS}")
@app.task(queueing_lock="reconcile", queue="console")
async def reconcile(timestamp: int) -> None:
    """Index threads that moved, empty removed ones, close overdue approvals, find lost runs and lost jobs."""
    with outages.put_off("the sweep"):
        await in_database(sweeps.sweep)()
        await in_database(deadlines.close_overdue)()
        await in_database(recovery.find_lost_runs)()
        await in_database(cleaning.look_again)()


@app.periodic(cron=f"* * * * * */{settings.SWEEP_SECONDS}")
@app.task(queueing_lock="sign_audit", queue="console")
async def sign_audit_log(timestamp: int) -> None:
    """Sign the log if a minute or 100 entries have passed."""
    with outages.put_off("the signing of the audit log"):
        await in_database(signing.sign_if_due)()


@app.periodic(cron="41 * * * *")
@app.task(queueing_lock="verify_audit", queue="console")
async def verify_audit_log(timestamp: int) -> None:
    """Every hour: verify what is new, and once a day the whole log, so that a broken one is known early."""
    with outages.put_off("the verification of the audit log"):
        await in_database(verification.check_by_worker)()


@app.periodic(cron="29 * * * *")
@app.task(queueing_lock="retire_threads", queue="console")
async def retire_threads_by_age(timestamp: int) -> None:
    """Every hour: remove finished threads that are older than RETENTION_DAYS."""
    with outages.put_off("the removal of old threads"):
        await in_database(retirement.retire_by_itself)()


@app.periodic(cron="17 * * * *")
@app.task(queueing_lock="forget_jobs", queue="console")
async def forget_jobs(timestamp: int, **_: Any) -> None:
    """Every hour: delete finished jobs, answers that nobody waits for, and old trials and streams.

    Our own rows are the record.
    """
    await app.job_manager.delete_old_jobs(nb_hours=24)
    await in_database(inquiries.forget_old)()
    await in_database(trials.forget_old)()
    await in_database(subscriptions.forget_old)()
