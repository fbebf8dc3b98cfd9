"""Runs a command that ends when whoever started it ends, however that happens.

It holds the read end of a pipe as its standard input. The other end is closed by the kernel even when its owner was killed
by SIGKILL; then the command is terminated. One byte on the pipe means: kill it, do not ask.
Standard library only, so that it starts in milliseconds and can be run by its path.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from types import FrameType

TERMINATE_FOR = 5.0


def end_with_owner(child: subprocess.Popen[bytes]) -> None:
    if os.read(sys.stdin.fileno(), 1):
        child.kill()
        return
    child.terminate()
    try:
        child.wait(TERMINATE_FOR)
    except subprocess.TimeoutExpired:
        child.kill()


def main(command: Sequence[str]) -> int:
    """The command's exit code, in the shell's spelling where a signal ended it."""
    child: subprocess.Popen[bytes] | None = None
    ending = False

    def end(signum: int, frame: FrameType | None) -> None:
        nonlocal ending
        ending = True
        if child is not None:
            child.terminate()

    # A terminal's Ctrl-C reaches the whole group; the guard stays until its command has ended.
    signal.signal(signal.SIGINT, lambda signum, frame: None)
    signal.signal(signal.SIGTERM, end)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    if ending:
        child.terminate()
    threading.Thread(target=end_with_owner, args=(child,), daemon=True).start()
    code = child.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    # Not sys.exit: the watching thread may hold standard input while the interpreter goes down.
    os._exit(main(sys.argv[1:]))
