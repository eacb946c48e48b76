"""Processes in which networks run, so that a network which crashes the runtime ends none but its own.

The agent has threads, and to fork a process with threads is asking for trouble. So a process without any, the nurse, is
forked before they begin; it forks the others, one at a time, and ends them. (Starting Python anew would do too, but not
where an emulator runs it.)
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import threading
import traceback
from collections.abc import Callable
from functools import partial

ChildWork = Callable[[socket.socket], None]
"""What a child does, until the other end of its line is closed."""
_BEGIN, _END = b"+", b"-"
_STATUS = struct.Struct("i")


class NurseGoneError(Exception):
    """The nurse was killed: the agent must begin anew."""


class Nursery:
    """Has at most one child, which does its work at the other end of a line. To be made before any thread.

    Args:
        work: What each child does.
    """

    def __init__(self, work: ChildWork) -> None:
        ours, theirs = socket.socketpair()
        self._turn = threading.Lock()
        # A process with threads must not fork, so this one is forked first and does all forking from then on.
        if os.fork() == 0:
            ours.close()
            _work_and_exit(lambda: _nurse(theirs, work))
        theirs.close()
        self._nurse = ours

    def begin(self) -> socket.socket:
        """End the child that there is, and return the line to a new one."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._send_order(_BEGIN, [theirs.fileno()])
        return ours

    def end(self) -> int:
        """End the child and return its exit code: -N where signal N ended it, which may have been before."""
        status = self._send_order(_END, [])
        return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)

    def _send_order(self, order: bytes, files: list[int]) -> int:
        with self._turn:
            try:
                socket.send_fds(self._nurse, [order], files)
                answer = self._nurse.recv(_STATUS.size, socket.MSG_WAITALL)
            except OSError as error:
                raise NurseGoneError from error
        if len(answer) < _STATUS.size:
            raise NurseGoneError
        return int(_STATUS.unpack(answer)[0])


def _work_and_exit(work: Callable[[], None]) -> None:
    """Do a forked process's work; it never returns to what its parent does next."""
    try:
        work()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def _nurse(agent: socket.socket, work: ChildWork) -> None:
    """Follow orders until the agent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the agent's matter, whose end ends us
    child = status = 0
    while True:
        # Without an order, the agent is gone; the child that there is must not outlive it.
        order, files, _flags, _address = socket.recv_fds(agent, 1, 1)
        if child:
            os.kill(child, signal.SIGKILL)
            status = os.waitpid(child, 0)[1]
            child = 0
        if not order:
            return
        if order == _BEGIN:
            child = os.fork()
            if child == 0:
                agent.close()
                _work_and_exit(partial(work, socket.socket(fileno=files[0])))
            os.close(files[0])
        agent.sendall(_STATUS.pack(status))
