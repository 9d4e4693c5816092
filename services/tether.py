"""Processes that die with their parent, however the parent dies.

As a program, `tether.py PARENT_PID COMMAND ARGUMENT…` runs a command so: a program of its own, since a hook between
fork and exec (`preexec_fn`) can deadlock in a process with threads.
"""

import ctypes
import os
import signal
import sys

# <linux/prctl.h>: the signal that a process gets when the thread that started it ends; it outlives exec.
_PR_SET_PDEATHSIG = 1


def tied(*command: str) -> list[str]:
    """The command as one that dies with this process."""
    return [sys.executable, "-IS", __file__, str(os.getpid()), *command]


def tie_to(parent: int) -> bool:
    """Let this process die with its parent; false if that has died before."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # The parent may have died before the line above: then no signal will come.
    return os.getppid() == parent


if __name__ == "__main__":
    if not tie_to(int(sys.argv[1])):
        sys.exit("the parent is gone")
    os.execv(sys.argv[2], sys.argv[2:])
