"""A worker's side of an executor."""

from __future__ import annotations

import sys
import threading

from nas.executors.worker import Outbox

_MANY = 20_000


def test_no_message_is_lost_that_is_put_in_while_others_are_taken() -> None:
    outbox, taken = Outbox(), list[bytes]()
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # so that the two get in each other's way
    try:
        fill = threading.Thread(target=lambda: [outbox.put(b"%d" % number) for number in range(_MANY)])
        fill.start()
        while fill.is_alive():
            taken += outbox.take()
        taken += outbox.take()
    finally:
        sys.setswitchinterval(before)
    assert taken == [b"%d" % number for number in range(_MANY)]
