"""Create the checkpoint tables and the triggers that watch them."""

import asyncio
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from psycopg import OperationalError
from psycopg_pool import PoolTimeout

from agentcore.plain.errors import AgentCoreError, DatabaseUnreachable
from agentcore.plain.urls import Memory, Postgres, Sqlite
from agentcore.savers import opening, setup, sqlite, stores
from agentcore.savers.serializers import strict_serializer
from approvals import checkpoints
from approvals.jobs import runtime
from approvals.programs import told


class Command(BaseCommand):
    help = "Create the tables of checkpoints and store: once for each deploy; several processes may do it at once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--timeout", type=float, default=30, help="seconds to wait for others, in all")

    def handle(self, *, timeout: float, verbosity: int, **options: Any) -> None:
        try:
            runtime.check_serializers()
            done = asyncio.run(_set_up(timeout))
        except (DatabaseUnreachable, OperationalError, PoolTimeout) as error:
            where = "CHECKPOINT_URL or, where that is unset, DATABASE_URL"
            raise CommandError(f"The checkpoint database does not answer; see {where}. {error}") from error
        except AgentCoreError as error:
            raise CommandError(told(str(error))) from error
        if verbosity:
            self.stdout.write(done)


async def _set_up(timeout_seconds: float) -> str:
    match settings.CHECKPOINT_STORE:
        case Postgres():
            async with opening.open_pool(checkpoints.params(), max_size=3) as pool:
                await setup.setup(pool, timeout_seconds=timeout_seconds)
                await stores.setup(pool, runtime.store_options(), timeout_seconds=timeout_seconds)
        case Sqlite(path):
            async with sqlite.open_sqlite(path, strict_serializer()):
                pass
        case Memory():
            return "There is nothing to set up: CHECKPOINT_URL=memory:// keeps no tables."
    return "The checkpoint tables are ready."
