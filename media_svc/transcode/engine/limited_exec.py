"""Sets limits on this process, then becomes the given program.

Run by path with `python -I -S`, so it uses the standard library alone. Doing this in a small program of its
own, and not in `preexec_fn`, keeps fork and exec free of Python code: safe in a process with threads and
gRPC.

    limited_exec.py --parent PID --cpu-s N --memory-bytes N --file-bytes N --nice N -- PROGRAM ARG...
"""

import argparse
import contextlib
import ctypes
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Asks the kernel to kill this process when its parent dies, however that happens (Linux only)."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # The parent may have died before the call above: then nobody would ever send the signal.
    if os.getppid() != parent:
        os._exit(125)


def cap(limit: int, value: int, grace: int = 0) -> None:
    """Lowers one resource limit; some systems refuse to limit memory, which must not stop the work there."""
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(limit, (value, value + grace))


def restore_signals() -> None:
    """Python ignores these two; the program it becomes would inherit that and run on at its file limit."""
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(ignored, signal.SIG_DFL)


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser()
    for name in ("--parent", "--cpu-s", "--memory-bytes", "--file-bytes", "--nice"):
        parser.add_argument(name, type=int, required=True)
    parser.add_argument("program", nargs=argparse.REMAINDER)
    options = parser.parse_args(argv)
    program = options.program[1:] if options.program[:1] == ["--"] else options.program
    die_with_parent(options.parent)
    # A grace between the two limits: at the hard one the kernel sends SIGKILL, which would not say why.
    cap(resource.RLIMIT_CPU, options.cpu_s, grace=5)
    cap(resource.RLIMIT_FSIZE, options.file_bytes)
    cap(resource.RLIMIT_CORE, 0)
    os.nice(options.nice)
    cap(resource.RLIMIT_AS, options.memory_bytes)
    restore_signals()
    os.execv(program[0], program)


if __name__ == "__main__":
    main(sys.argv[1:])
