"""Servers that a table starts, and what their clients need."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parent.parent


@contextmanager
def started(command: Sequence[str], env: dict[str, str]) -> "Iterator[subprocess.Popen[bytes]]":
    """Run a server until the block ends. One that does not stop within a minute is killed."""
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **env}, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def up(port: int, path: str) -> str:
    """Wait until the server answers; return its address."""
    url = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient(base_url=url, timeout=5) as client:
        for _ in range(600):
            try:
                if (await client.get(path)).is_success:
                    return url
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.1)
    raise RuntimeError("The server did not start within a minute.")


def manage(*arguments: str) -> list[str]:
    """Return the command of `manage.py`."""
    return [sys.executable, "manage.py", *arguments]


def cookie_of(username: str) -> str:
    """Return the session cookie of a person who signed in."""
    from django.contrib.auth.models import User
    from django.test import Client

    client = Client()
    client.force_login(User.objects.get(username=username))
    return client.cookies["sessionid"].value


async def signed_in(username: str) -> str:
    """Return that cookie to async code."""
    return await asyncio.to_thread(cookie_of, username)


def begin_run(graph: str, given: dict[str, Any]) -> str:
    """Start a run on a new thread as olga; return the id of the thread."""
    from django.contrib.auth.models import User

    from approvals.actions.runs.starts import start_run
    from approvals.actions.threads.creation import create_thread
    from approvals.database import give_back

    olga = User.objects.get(username="olga")
    thread = create_thread(by=olga)
    start_run(thread_id=thread.pk, graph_id=graph, input=given, by=olga)
    give_back()
    return str(thread.pk)


async def pause(graph: str, given: dict[str, Any], *, seconds: float = 60) -> Any:
    """Start a run on a new thread; return the approval on which it waits, once it does."""
    thread_id = await asyncio.to_thread(begin_run, graph, given)
    for _ in range(int(seconds / 0.05)):
        if found := await asyncio.to_thread(_pending, thread_id):
            return found
        await asyncio.sleep(0.05)
    raise RuntimeError(f"Thread {thread_id} did not stop within {seconds} s.")


def _pending(thread_id: str) -> Any:
    from approvals.database import give_back
    from approvals.models import Approval

    try:
        return Approval.objects.pending().filter(thread_id=thread_id).first()
    finally:
        give_back()
