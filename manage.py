#!/usr/bin/env python
"""The command line of a clone."""

import sys

from approvals.management import command_line

if __name__ == "__main__":
    command_line.run_interruptible(sys.argv)
