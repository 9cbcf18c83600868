"""Create the checkpoint tables and the trigger that watches them."""

import asyncio
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from agentcore import checkpointers, schema
from agentcore.errors import AgentCoreError
from approvals import runtime


class Command(BaseCommand):
    help = "Create the checkpoint tables: once for each deploy, safe when started several at a time."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--timeout", type=float, default=30, help="seconds to wait for another set-up")

    def handle(self, *, timeout: float, verbosity: int, **options: Any) -> None:
        try:
            asyncio.run(self._setup(timeout))
        except AgentCoreError as error:
            raise CommandError(str(error)) from error
        if verbosity:
            self.stdout.write("The checkpoint tables are ready.")

    async def _setup(self, timeout_seconds: float) -> None:
        async with checkpointers.open_pool(runtime.checkpoint_params(), max_size=3) as pool:
            await schema.setup(pool, timeout_seconds=timeout_seconds)
