"""Sets limits on this process, then becomes the given program.

    limited.py PARENT CPU_S MEMORY_BYTES NICENESS PROGRAM ARGUMENT...

Run by path with `python -I -S`: between fork and exec of a process with threads nothing of Python should run.
"""

import contextlib
import ctypes
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1
_GRACE_CPU_S = 5


def main(arguments: list[str]) -> None:
    parent, cpu_s, memory, niceness = map(int, arguments[:4])
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # The parent may have died before that: nobody would send the signal.
        if os.getppid() != parent:
            os._exit(1)
    # The first limit sends SIGXCPU, which says why it ended; the second SIGKILL.
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + _GRACE_CPU_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # What is written to memory. The address space is no measure: libraries reserve many times what they use.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    os.nice(niceness)
    os.execv(arguments[4], arguments[4:])


if __name__ == "__main__":
    main(sys.argv[1:])
