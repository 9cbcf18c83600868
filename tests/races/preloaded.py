"""What every forked process has imported already. No connection, no thread."""

import gc

import django

django.setup()

from approvals import asgi  # noqa: E402, F401
from approvals.jobs import runtime  # noqa: E402, F401
from approvals.management.commands import serve  # noqa: E402, F401
from tests.races import works  # noqa: E402, F401

runtime.load_graphs()
gc.freeze()  # pages that nobody writes to are shared
