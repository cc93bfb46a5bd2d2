"""Tasks that begin at once, where Python can: what never waits then costs no turn of the event loop."""

from __future__ import annotations

import asyncio
import sys
from typing import Any, Coroutine

if sys.version_info >= (3, 12):

    def start(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task that has run up to where it first waits, unless the loop has a task factory of its own."""
        if loop.get_task_factory() is None:
            return asyncio.Task(work, loop=loop, eager_start=True)
        return loop.create_task(work)

else:

    def start(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task; before Python 3.12 it begins in the next turn of the event loop."""
        return loop.create_task(work)
