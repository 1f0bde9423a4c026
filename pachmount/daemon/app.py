"""The daemon's composition root: builds everything by hand, serves until a signal, takes everything down again.

Order: log, lock, cache, cluster, mounts of the last time, socket, ready. Stop: in reverse.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from pachmount import __version__, paths
from pachmount import log as log_setup
from pachmount.api import answers, schema
from pachmount.api.access import PeerAccess, parse_endpoint
from pachmount.api.datums import status as datum_status
from pachmount.api.handlers import MAX_DOWNLOADS, MAX_LOGINS, RequestCounts, Services, Slots
from pachmount.api.pools import Pools
from pachmount.api.server import RestServer
from pachmount.cache.blocks import BlockCache
from pachmount.cache.disk import DiskBlocks
from pachmount.cache.listings import ListingFiles
from pachmount.daemon.embedded import EmbeddedProcess
from pachmount.daemon.lock import DaemonLock
from pachmount.daemon.reloading import Reloader
from pachmount.daemon.service_manager import ServiceManager
from pachmount.daemon.surroundings import bound_memory_pools, client_access, refuse_own_paths_below, rss_bytes
from pachmount.documents import aside_in
from pachmount.errors import ConfigurationError, PachmountError
from pachmount.fuse.session import survive_closed_connections
from pachmount.mounts.browsing import Browser
from pachmount.mounts.cluster import Cluster
from pachmount.mounts.manager import MountManager
from pachmount.mounts.mounter import Mounter
from pachmount.mounts.open_views import MAX_VIEWS, OpenViews
from pachmount.mounts.staged_places import StagedPlaces
from pachmount.mounts.store import MountStore
from pachmount.mounts.subscriptions import MAX_STREAMS
from pachmount.mounts.warmups import Warmups
from pachmount.mounts.writing import Writing
from pachmount.paths import Places
from pachmount.pfs.contexts import ContextFile
from pachmount.settings import Settings
from pachmount.users import parse_owner, parse_users
from pachmount.vfs.bundle import MAX_BATCHES
from pachmount.vfs.content import MAX_TRANSFERS, Contents
from pachmount.vfs.listings import Listings
from pachmount.vfs.view import WaitGate
from pachmount.vfs.warmup import disk_room

log = logging.getLogger(__name__)

SWITCH_INTERVAL = 50e-6
"""Seconds; with Python's 5 ms one busy thread would slow FUSE down to some hundred operations a second (fuse.md 0)."""
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
"""The same as the original's."""
WAITING_REQUESTS = 64
ANSWER_SECONDS = 2.0
"""How long requests may take to be answered when the mounts are gone, within the time that the end may take."""
_IDLE_LOOK_SECONDS = 0.02
JITTER = 0.8
"""The shortest time between two looks at the cluster, as a part of the poll interval."""
FIRST_RETRY_PAUSE = 0.5
SAME_SIGNAL_SECONDS = 0.5
"""A wrapper and its terminal often send one signal twice."""


class ReadyReport(Protocol):
    """Whoever started us and waits to hear how it went."""

    def ready(self) -> None: ...

    def failed(self, error: PachmountError) -> None: ...


class Daemon:
    """Everything that runs in one daemon process."""

    def __init__(
        self, where: Places, settings: Settings, load: Callable[[], Settings], service_manager: ServiceManager
    ) -> None:
        """`load` reads the settings again, as they were read at the start."""
        self._where = where
        self._started = time.time()
        refuse_own_paths_below(where, settings)
        self._lock = DaemonLock(where.lock_file)
        self._disk = DiskBlocks(settings.cache_dir / "blocks", settings.cache_size)
        self._listings = ListingFiles(settings.cache_dir / "listings", settings.listings_size)
        self._cache = BlockCache(self._disk, settings.memory_size)
        self._contents = Contents(self._cache, settings.read_timeout, settings.read_ahead)
        self._gate = WaitGate(WAITING_REQUESTS, settings.read_timeout)
        state = where.lock_file.parent
        embedded = EmbeddedProcess(paths.local_store(), paths.embedded_socket(), state / "localpfs.log")
        self._cluster = Cluster(ContextFile(), embedded, settings.call_timeout)
        self._mounter = Mounter(
            self._cluster,
            self._contents,
            self._gate,
            Path(os.path.realpath(state)) / "staging",
            settings.read_timeout,
            settings.allow_other,
            Listings(self._listings),
            parse_owner(settings.file_owner, "file_owner") if settings.file_owner else (os.getuid(), os.getgid()),
        )
        store = MountStore(where.mounts_file, where.mounts_aside)
        staged = StagedPlaces(self._cluster, Path(os.path.realpath(where.staged)))
        writing = Writing(self._cluster, self._mounter, staged, settings.staging_size, paths.config_dir() / "ignore")
        self._manager = MountManager(
            self._cluster, self._mounter, store, where.mount_dir, settings.call_timeout, writing
        )
        self._warmups = Warmups(self._manager, self._contents, self._gate, lambda: disk_room(self._disk))
        self._views = OpenViews(self._cluster, self._mounter)
        self._poll_interval = settings.poll_interval
        self._last_commits = settings.shutdown_grace if settings.on_shutdown == "commit" else 0.0
        self._pools = Pools()
        self._logins = Slots(MAX_LOGINS)
        self._downloads = Slots(MAX_DOWNLOADS)
        self._max_datums = settings.max_datums
        self._stop_timeout = settings.stop_timeout
        self._requests = RequestCounts()
        self._listen_at = parse_endpoint(settings.listen) if settings.listen else None
        self._peers = PeerAccess(parse_users(settings.socket_users, "socket_users"))
        self._clients = client_access(where, settings) if settings.listen else None
        self._url = ""
        self._service_manager = service_manager
        self._reloader = Reloader(settings, load, self._live_settings())
        self._stopping = threading.Event()
        self._stop_asked_at = 0.0

    async def run(self, on_ready: Callable[[], None], *, until_unmounted: bool) -> None:
        """Serve until one of STOP_SIGNALS comes; a second one ends the process at once."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self._on_signal, number, stop)
        if until_unmounted:
            self._manager.when_unmounted = lambda: self._stop_without_mounts(loop, stop)
        await loop.run_in_executor(self._pools.work, self._bring_up)
        services = Services(
            self._manager,
            self._cluster,
            self._pools,
            self.status,
            self.stats,
            self._requests,
            self._warmups,
            Browser(self._manager, self._cluster, self._views),
            self._logins,
            self._downloads,
            self._max_datums,
            self._stopping,
            self._reloader.reload,
        )
        server = self._listen(services)
        log.info("pachmount %s ready: %s, mounts below %s", __version__, self._where.socket, self._where.mount_dir)
        on_ready()
        self._service_manager.tell("READY=1")
        informing = asyncio.create_task(self._service_manager.keep_informed(self._pools.poll, self._in_one_line))
        listening = asyncio.create_task(server.keep_listening())
        watch = threading.Thread(target=self._watch_cluster, name="cluster-watch", daemon=True)
        watch.start()
        await stop.wait()
        self._service_manager.tell("STOPPING=1", "STATUS=unmounting")
        informing.cancel()
        listening.cancel()
        self._stopping.set()
        self._warmups.close()
        self._views.close()
        server.stop()
        try:
            self._where.socket.unlink(missing_ok=True)
            if self._last_commits:
                await loop.run_in_executor(None, self._manager.staged.commit_all, self._last_commits)
        except Exception:
            log.exception("while stopping")  # the mounts are taken away all the same
        end = time.monotonic() + self._stop_timeout
        ended = asyncio.Event()

        def end_mounts() -> None:
            try:
                self._manager.shut_down(end - ANSWER_SECONDS / 2)
            finally:
                loop.call_soon_threadsafe(ended.set)

        threading.Thread(target=end_mounts, name="ending", daemon=True).start()  # nobody waits for it but for a time
        try:
            await asyncio.wait_for(ended.wait(), self._stop_timeout)
        except asyncio.TimeoutError:
            log.warning("the mounts could not all be taken away within %.0f s", self._stop_timeout)
        answered = min(end, time.monotonic() + ANSWER_SECONDS)
        self._cluster.cut_off()
        while self._requests.active and time.monotonic() < answered:
            await asyncio.sleep(_IDLE_LOOK_SECONDS)

    def close(self) -> None:
        """Release what `run` leaves: caches, connections, the embedded server, the lock."""
        self._pools.close()
        self._contents.close()
        self._cache.close()
        self._cluster.close()
        self._lock.release()
        log.info("stopped")

    def status(self) -> schema.StatusAnswer:
        """Everything worth knowing, from memory."""
        return schema.StatusAnswer(
            version=__version__,
            pid=os.getpid(),
            started=self._started,
            mount_dir=str(self._where.mount_dir),
            socket=str(self._where.socket),
            listen=self._url,
            log_file=str(self._where.log_file),
            unsaved_mounts=self._manager.unsaved,
            damaged_files=[str(file) for file in aside_in(self._where.mounts_file.parent)],
            rss_bytes=rss_bytes(),
            threads=threading.active_count(),
            waiting_requests=self._gate.waiting,
            waiting_requests_limit=self._gate.limit,
            lingering_sessions=self._manager.lingering,
            follow_streams=self._manager.follow_streams,
            follow_streams_limit=MAX_STREAMS,
            waiting_logins=self._logins.taken,
            waiting_logins_limit=self._logins.limit,
            browsed_commits=len(self._views),
            browsed_commits_limit=MAX_VIEWS,
            downloads=self._downloads.taken,
            downloads_limit=self._downloads.limit,
            pools=[schema.PoolStatus(**state._asdict()) for state in self._pools.states()],
            cluster=answers.cluster(self._cluster.snapshot()),
            cache=self._cache_status(),
            mounts=[answers.mount_status(mount) for mount in self._manager.mounts()],
            kept_changes=[schema.KeptChanges(**asdict(each)) for each in self._manager.staged.kept_changes()],
            warmups=[answers.warmup(warmup) for warmup in self._warmups.all()],
            datum=datum_status(self._manager.datums),
        )

    def stats(self) -> schema.StatsAnswer:
        """What was done so far and how long it took, from memory."""
        mounts = self._manager.mounts()
        calls, errors, retries = self._cluster.traffic.snapshot()
        daemon = schema.DaemonStatistics(
            version=__version__,
            started=self._started,
            uptime_seconds=time.time() - self._started,
            cpu_seconds=time.process_time(),
            rss_bytes=rss_bytes(),
            threads=len(os.listdir("/proc/self/task")),
            waiting_requests=self._gate.waiting,
            waiting_requests_limit=self._gate.limit,
            lingering_sessions=self._manager.lingering,
            cluster_state=answers.cluster(self._cluster.snapshot()).state,
            calls=calls,
            call_errors=errors,
            call_retries=retries,
            read_retries=self._contents.retries,
            rest_requests=self._requests.snapshot(),
            mounts_by_state=Counter(mount.state.value for mount in mounts),
            cache=self._cache_status(),
        )
        named = [answers.named_statistics(mount) for mount in mounts]
        return schema.StatsAnswer(time=time.time(), daemon=daemon, mounts=named)

    def _in_one_line(self) -> str:
        """The daemon's condition for a service manager: made of all that a client is told, to notice what hangs."""
        status = self.status()
        wrong = sum(mount.error is not None for mount in status.mounts)
        return f"{len(status.mounts)} mounts, {wrong} with errors; cluster: {status.cluster.state}"

    def _live_settings(self) -> dict[str, Callable[[Settings], None]]:
        """How each setting that can change while the daemon runs is put into effect."""

        def log_as(new: Settings) -> None:
            log_setup.adjust(new.log_level, json_lines=new.log_format == "json")

        def wait_for_reads(new: Settings) -> None:
            """Mounts that exist keep the time for their names."""
            self._contents.timeout = self._gate.timeout = self._mounter.read_timeout = new.read_timeout

        def wait_for_calls(new: Settings) -> None:
            self._manager.call_timeout = new.call_timeout
            self._cluster.set_call_timeout(new.call_timeout)

        return {
            "log_level": log_as,
            "log_format": log_as,
            "read_timeout": wait_for_reads,
            "call_timeout": wait_for_calls,
            "poll_interval": lambda new: setattr(self, "_poll_interval", new.poll_interval),
            "cache_size": lambda new: setattr(self._disk, "limit", new.cache_size),
            "listings_size": lambda new: setattr(self._listings, "limit", new.listings_size),
            "memory_size": lambda new: setattr(self._cache, "memory_limit", new.memory_size),
            "read_ahead": lambda new: setattr(self._contents, "read_ahead", new.read_ahead),
        }

    def _cache_status(self) -> schema.CacheStatus:
        return schema.CacheStatus(
            directory=str(self._disk.directory),
            disk_bytes=self._disk.bytes_used,
            disk_limit=self._disk.limit,
            disk_blocks=self._disk.blocks,
            memory_bytes=self._cache.memory_bytes,
            memory_limit=self._cache.memory_limit,
            write_queue=self._cache.queued_writes,
            write_queue_limit=self._cache.queue_limit,
            dropped_writes=self._cache.dropped_writes,
            streams=self._contents.transfers,
            streams_limit=MAX_TRANSFERS + MAX_BATCHES,
            memory_hits=self._cache.memory_hits,
            disk_hits=self._cache.disk_hits,
            misses=self._contents.misses,
            fetched_bytes=self._contents.fetched_bytes,
            listings_bytes=self._listings.bytes_used,
            listings_limit=self._listings.limit,
            disabled_reason=self._disk.disabled_reason,
        )

    def _listen(self, services: Services) -> RestServer:
        server = RestServer(services)
        server.listen(self._where.socket, self._peers)
        if self._listen_at is not None and self._clients is not None:
            self._url = server.listen_tcp(self._listen_at, self._clients)
        return server

    def _bring_up(self) -> None:
        self._cluster.connect()
        self._manager.restore()

    def _watch_cluster(self) -> None:
        """Look at the cluster and the branches; one that does not answer soon again, then ever more seldom."""
        failures = 0
        while True:
            interval = self._poll_interval
            pause = min(interval, FIRST_RETRY_PAUSE * 2 ** min(failures - 1, 10)) if failures else interval
            if self._stopping.wait(pause * random.uniform(JITTER, 1.0)):  # noqa: S311  # spreads clients
                return
            failures += 1
            try:
                self._views.close_unneeded()
                if self._cluster.check_health():
                    failures = 0
                    self._manager.look_at_heads(max_age=interval * JITTER / 2)
                    self._manager.staged.settle_commits()
            except PachmountError as error:
                log.debug("looking at the cluster: %s", error)
            except Exception:
                log.exception("the watch of the cluster failed")

    def _stop_without_mounts(self, loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
        if not self._manager.mounts():
            log.info("the last mount was taken away: stopping")
            loop.call_soon_threadsafe(stop.set)

    def _on_signal(self, number: int, stop: asyncio.Event) -> None:
        name = signal.Signals(number).name
        if stop.is_set():
            if time.monotonic() - self._stop_asked_at < SAME_SIGNAL_SECONDS:
                return
            log.warning("second signal (%s): ending at once", name)
            os._exit(1)
        log.info("%s: stopping", name)
        self._stop_asked_at = time.monotonic()
        stop.set()


def serve(
    where: Places, load: Callable[[], Settings], *, foreground: bool, report: ReadyReport, until_unmounted: bool = False
) -> int:
    """Run a daemon until it is told to stop; the exit code. `report` learns when it is ready, or why it is not.

    `load` reads the settings; `until_unmounted` ends it with its last mount. In the foreground the service manager that
    started us, if one did, is told how we are.
    """
    sys.setswitchinterval(SWITCH_INTERVAL)
    bound_memory_pools()
    faulthandler.register(signal.SIGUSR1)
    survive_closed_connections()
    service_manager = ServiceManager.of(os.environ) if foreground else ServiceManager()
    try:
        settings = load()
        level, json_lines = settings.log_level, settings.log_format == "json"
        log_setup.configure(where.log_file, level, json_lines=json_lines, to_stderr=foreground)
        daemon = Daemon(where, settings, load, service_manager)
    except PachmountError as error:
        report.failed(error)
        return int(error.exit_code)
    except OSError as error:
        failure = ConfigurationError(f"cannot use '{error.filename}'", error.strerror or str(error))
        report.failed(failure)
        return int(failure.exit_code)
    try:
        asyncio.run(daemon.run(report.ready, until_unmounted=until_unmounted))
        return 0
    except PachmountError as error:
        log.error("the daemon cannot run: %s", error)  # noqa: TRY400 (its text says it all)
        report.failed(error)
        return int(error.exit_code)
    finally:
        daemon.close()
