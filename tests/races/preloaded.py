"""What every forked process has imported already. No connection, no thread."""

import gc

import django

django.setup()

# After the set-up (E402), and only so that it is loaded when a process is forked (F401).
import langchain_core.tracers.run_collector  # noqa: E402
import langchain_core.tracers.stdout  # noqa: E402, F401

import approvals.conf.routers  # noqa: E402, F401
from approvals import asgi  # noqa: E402, F401
from approvals.jobs import runtime  # noqa: E402, F401
from approvals.management.commands import serve  # noqa: E402, F401
from tests.races import answering, watched, works  # noqa: E402, F401

runtime.load_graphs()
gc.freeze()  # pages that nobody writes to are shared
