"""What forked processes do about questions, besides `works`."""

import asyncio
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.db import connection

from approvals.actions.runs import controls, execution
from approvals.actions.votes import repairs
from approvals.errors import Refusal
from approvals.jobs import runtime
from tests.copies import Paused
from tests.races import works

Given = tuple[Paused, Any, dict[str, Any]]
"""A question, the answer, and the edits that come with it."""


def answer(given: Sequence[Given], name: str = "alice") -> list[dict[str, Any]]:
    """Answer questions. A worker beside us tries the edits on the real graph first."""
    is_over = threading.Event()
    with ThreadPoolExecutor(1) as beside:
        trying = beside.submit(asyncio.run, works._answer_inquiries(is_over))
        try:
            return [
                works.vote(paused, name, "respond", answer=value, is_answered=True, edits=edits)
                for paused, value, edits in given
            ]
        finally:
            is_over.set()
            trying.result()


def repair(thread_ids: Sequence[str]) -> list[str]:
    """Have the questions of these threads asked again; return the runs that do it."""
    olga = User.objects.get(username="olga")
    return [str(repairs.ask_again(thread_id=thread_id, by=olga).pk) for thread_id in thread_ids]


def give_up(run_ids: Sequence[str]) -> None:
    alice = User.objects.get(username="alice")
    for run_id in run_ids:
        controls.give_up_run(run_id=UUID(run_id), by=alice)


def repair_beside(rounds: Sequence[tuple[Given, float]]) -> list[tuple[str, str]]:
    """Have a thread's question asked again while another one of it is answered; return what refused each of the two.

    The vote comes so many seconds later, or, below zero, earlier.
    """
    together = threading.Barrier(2)

    def ask(thread_id: str, seconds: float) -> str:
        together.wait(60)
        time.sleep(max(-seconds, 0))
        try:
            repair([thread_id])
        except Refusal as refusal:
            return refusal.code
        finally:
            connection.close()
        return ""

    def vote(paused: Paused, value: Any, seconds: float) -> str:
        together.wait(60)
        time.sleep(max(seconds, 0))
        try:
            return str(works.vote(paused, "bob", "respond", answer=value, is_answered=True).get("refused", ""))
        finally:
            connection.close()

    found = []
    with ThreadPoolExecutor(2) as people:
        for (paused, value, _), seconds in rounds:
            asking = people.submit(ask, paused.thread_id, seconds)
            voting = people.submit(vote, paused, value, seconds)
            found.append((asking.result(), voting.result()))
    return found


def carry_out_in_turn(run_ids: Sequence[str]) -> None:
    """As `works.carry_out`, one after the other: on a busy machine, eight at once may outlive their leases."""

    async def each() -> None:
        try:
            for run_id in run_ids:
                await execution.execute_run(run_id)
        finally:
            await runtime.close_worker()

    asyncio.run(each())
