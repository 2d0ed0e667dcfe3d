"""SIGTERM and SIGINT in the driver's process: which of its work they may interrupt.

The first signal raises KeyboardInterrupt, except within :meth:`Signals.held`, where it waits until the end of
the block. A second one never waits. Ray's calls pass on KeyboardInterrupt and nothing else, so the signal's
number is kept here.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Signals:
    """The signals that this process has received."""

    def __init__(self) -> None:
        self.received: int | None = None
        """The last one."""
        self._held = False

    def install(self) -> None:
        """Handle SIGTERM and SIGINT from now on.

        SIGINT is set as well: started in the background by a script, a process inherits it as ignored.
        """
        self.received, self._held = None, False
        signal.signal(signal.SIGTERM, self._receive)
        signal.signal(signal.SIGINT, self._receive)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        second = self.received is not None
        self.received = number
        if second or not self._held:
            raise KeyboardInterrupt

    @contextmanager
    def held(self) -> Iterator[None]:
        """Carry through what must not be torn; a signal that came meanwhile is raised at the end."""
        before = self.received
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if before is None and self.received is not None:
            raise KeyboardInterrupt

    @property
    def exit_code(self) -> int:
        """As a shell reports a process that a signal has ended: 130 for SIGINT, 143 for SIGTERM."""
        return 128 + (self.received or signal.SIGINT)


SIGNALS = Signals()
"""Of this process."""
