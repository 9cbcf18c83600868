"""Procrastinate's own command; its worker first loads and publishes its graphs, and works on those."""

from typing import Any

from django.core.management.base import CommandError
from procrastinate.contrib.django.management.commands.procrastinate import Command as ProcrastinateCommand

from agentcore.errors import AgentCoreError
from approvals import runtime
from approvals.actions.publish_graphs import publish_graphs
from approvals.worker import queues


class Command(ProcrastinateCommand):
    def handle(self, *args: Any, **kwargs: Any) -> None:
        if kwargs.get("command") == "worker":
            if why := runtime.why_one_process():
                raise CommandError(f"{why} Web and worker cannot be two. Type: manage.py serve")
            try:
                publish_graphs()
                kwargs["queues"] = kwargs.get("queues") or queues()
            except AgentCoreError as error:
                raise CommandError(str(error)) from error
        super().handle(*args, **kwargs)
