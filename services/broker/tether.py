"""Run a command that dies with its parent, however the parent dies: `tether.py PARENT_PID COMMAND ARGUMENT…`.

A program of its own, since a hook between fork and exec (`preexec_fn`) can deadlock in a process with threads.
"""

import ctypes
import os
import signal
import sys

# <linux/prctl.h>: the signal that a process gets when the thread that started it ends; it outlives exec.
_PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    parent, command = int(sys.argv[1]), sys.argv[2:]
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # The parent may have died before the line above: then no signal will come.
    if os.getppid() != parent:
        sys.exit("the parent is gone")
    os.execv(command[0], command)
