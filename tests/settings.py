"""The settings of what tests start: the console's own, but it looks for work more often."""

from approvals.settings import *  # noqa: F403

SWEEP_SECONDS = 1
SETTLED_SECONDS = 1.0
UNTAKEN_SECONDS = 2.0
EMPTIED_SECONDS = 3.0
BEAT_SECONDS = 0.5
ALIVE_SECONDS = 5.0
JOB_POLL_SECONDS = 0.5
BEGIN_AGAIN_SECONDS = 0.5
GRACE_SECONDS = 2.0
MOVING_SECONDS = 3.0
