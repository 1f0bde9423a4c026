"""Telling systemd how the daemon is: datagrams to the socket that NOTIFY_SOCKET names (sd_notify, sd_watchdog_enabled).

Where nobody wants to know, which is the usual case, nothing is sent.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, MutableMapping
from concurrent.futures import Executor

log = logging.getLogger(__name__)

SEND_SECONDS = 1.0
STATUS_SECONDS = 30.0
"""How often the status line is brought up to date where no watchdog asks for more."""


class ServiceManager:
    """Whoever supervises the daemon. `watchdog`: within how many seconds it must hear from us each time; 0 = never."""

    def __init__(self, address: str = "", watchdog: float = 0.0) -> None:
        self.address = address
        self.watchdog = watchdog

    @classmethod
    def of(cls, environment: MutableMapping[str, str]) -> ServiceManager:
        """The one that started this process. Its variables are taken out: what we start is not its service."""
        address = environment.pop("NOTIFY_SOCKET", "")
        microseconds = environment.pop("WATCHDOG_USEC", "")
        meant = environment.pop("WATCHDOG_PID", "") in ("", str(os.getpid()))
        return cls(address, int(microseconds) / 1e6 if address and meant and microseconds.isdecimal() else 0.0)

    def tell(self, *lines: str) -> None:
        """Send lines such as READY=1. A manager that does not listen is no reason not to work: that is logged."""
        if not self.address:
            return
        name = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
                connection.settimeout(SEND_SECONDS)
                connection.sendto("\n".join(lines).encode(), name)
        except OSError as error:
            log.warning("cannot tell the service manager at %s: %s", self.address, error)

    async def keep_informed(self, executor: Executor, condition: Callable[[], str]) -> None:
        """Until cancelled, say in one line how we are, and with it that we live.

        `condition` is asked in a thread of `executor`, as a client would be served: nothing is sent while the loop or
        the threads hang, or the daemon cannot describe itself.
        """
        pause = self.watchdog / 2 or STATUS_SECONDS
        asked: asyncio.Future[str] | None = None
        while self.address:
            try:
                if asked is None or asked.done():
                    asked = asyncio.get_running_loop().run_in_executor(executor, condition)
                text = await asyncio.wait_for(asyncio.shield(asked), pause)
                self.tell(f"STATUS={text}", "WATCHDOG=1")
            except asyncio.TimeoutError:
                log.warning("the daemon does not answer itself within %.1f s", pause)
            except Exception:
                log.exception("the daemon cannot tell how it is")
            await asyncio.sleep(pause)
