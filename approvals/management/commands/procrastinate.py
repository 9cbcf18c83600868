"""Procrastinate's own command; its worker first loads and publishes its graphs, and works on those."""

import asyncio
from typing import Any

from django.core.management.base import CommandError
from procrastinate import cli
from procrastinate.contrib.django import app
from procrastinate.contrib.django.management.commands.procrastinate import Command as ProcrastinateCommand

from agentcore.plain import kept_lines
from agentcore.plain.errors import AgentCoreError
from approvals import checkpoints
from approvals.actions.workers.cards import publish_graphs
from approvals.actions.workers.presence import signed_on
from approvals.jobs import job_queue, runtime
from approvals.jobs.answering import answering
from approvals.jobs.worker import queues
from approvals.programs import told, typed


class Command(ProcrastinateCommand):
    def handle(self, *args: Any, **kwargs: Any) -> None:
        if kwargs.get("command") != "worker":
            super().handle(*args, **kwargs)
            return
        if why := checkpoints.why_one_process():
            raise CommandError(f"{why} Web and worker cannot be two. Type: {typed('serve')}")
        try:
            publish_graphs()
            graphs = runtime.load_graphs()
        except AgentCoreError as error:
            raise CommandError(told(str(error))) from error
        kwargs["queues"] = kwargs.get("queues") or queues()
        here = [graph_id for graph_id in graphs if job_queue.graph_queue(graph_id) in kwargs["queues"]]
        options = {name: value for name, value in kwargs.items() if name not in self._django_options}
        own = app.replace_connector(app.connector.get_worker_connector())  # type: ignore[attr-defined]
        with signed_on(here, runtime.load().broken), own:
            asyncio.run(_work(here, options))


async def _work(graph_ids: list[str], options: dict[str, Any]) -> None:
    try:
        with kept_lines.caught():
            await _answer_and_work(graph_ids, options)
    finally:
        await runtime.close_worker()


async def _answer_and_work(graph_ids: list[str], options: dict[str, Any]) -> None:
    async with answering(graph_ids):
        await cli.execute_command({**options, "app": app})
