"""The settings of what tests start: the console's own, but it looks for work more often, and
a presenter that reads rows fails."""

import os

from approvals.settings import *  # noqa: F403
from approvals.settings import DATABASES
from tests import statements

SWEEP_SECONDS = 4
SETTLED_SECONDS = 1.0
UNTAKEN_SECONDS = 2.0
EMPTIED_SECONDS = 3.0
BEAT_SECONDS = 2.0
ALIVE_SECONDS = 5.0
JOB_POLL_SECONDS = 2.0
BEGIN_AGAIN_SECONDS = 0.5
GRACE_SECONDS = 2.0
MOVING_SECONDS = 3.0
LISTEN_AGAIN_SECONDS = 0.3

REPLY_SECONDS = float(os.environ.get("TEST_REPLY_SECONDS") or 10)  # less where nobody can answer
LISTEN_BEAT_SECONDS = float(os.environ.get("TEST_LISTEN_BEAT_SECONDS") or 20)
SOCKET_CHECK_SECONDS = float(os.environ.get("TEST_SOCKET_CHECK_SECONDS") or 20)
UNDO_SECONDS = int(os.environ.get("TEST_UNDO_SECONDS") or 0)
CLOCK_SECONDS = 1.0
for _each in DATABASES.values():  # how long a request waits for a connection: less where a test takes the server away
    _each["OPTIONS"]["pool"]["timeout"] = float(os.environ.get("TEST_POOL_SECONDS") or 5)

statements.watch_every_connection()
