"""Become another program that dies with its parent, in another network namespace if asked to.

python -I -S launch.py PARENT_PID NAMESPACE_FD COMMAND...      (NAMESPACE_FD -1: stay here)
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_CLONE_NEWNET = 0x40000000


def main() -> None:
    parent, namespace, *command = sys.argv[1:]
    if sys.platform.startswith("linux"):
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != int(parent):
            sys.exit("its parent is gone")
        if int(namespace) >= 0:
            if libc.setns(int(namespace), _CLONE_NEWNET) != 0:
                sys.exit(f"setns: {os.strerror(ctypes.get_errno())}")
            os.close(int(namespace))
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
