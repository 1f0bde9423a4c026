"""What `status` prints: the verdict first, then the mounts, then what to do next; no Typer, no Rich."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from pachmount.cli import output, process, views
from pachmount.cli.state import State
from pachmount.documents import aside_in
from pachmount.errors import DaemonNotRunningError, ExitCode, UnreachableError

if TYPE_CHECKING:
    from pachmount.api.schema import CacheStatus, ClusterStatus, KeptChanges, MountStatus, StagedStatus, StatusAnswer
    from pachmount.overlay.kept import Kept


def show_status(state: State, *, as_json: bool) -> ExitCode:
    """Print what the daemon tells of itself, or what is known without it."""
    try:
        answer = state.status()
    except DaemonNotRunningError:
        if as_json:
            output.json_answer(stopped(state))
        else:
            _show_stopped(state)
        return ExitCode.NOT_RUNNING
    if as_json:
        output.json_answer(_running(answer))
    else:
        _show(state, answer)
    return ExitCode.OK


def watch_status(state: State, interval: float, *, as_json: bool) -> NoReturn:
    """Print it every `interval` seconds; on a terminal, in the place of the one before."""
    while True:
        if not as_json and sys.stdout.isatty():
            output.clear_screen()
        try:
            answer = state.status()
        except DaemonNotRunningError:
            output.json_line(stopped(state)) if as_json else _show_stopped(state)
        except UnreachableError as error:
            output.json_line({"state": "unreachable", "error": error.to_dict()}) if as_json else output.error(error)
        else:
            output.json_line(_running(answer)) if as_json else _show(state, answer)
        if not as_json:
            output.line("")
        sys.stdout.flush()
        state.close()  # or a daemon that went would be asked on the connection to it
        time.sleep(interval)


def _running(answer: StatusAnswer) -> dict[str, Any]:
    return {"state": "running", **output.plain(answer)}


def _show(state: State, answer: StatusAnswer) -> None:
    up = output.duration(time.time() - answer.started)
    output.line(f"pachmount {answer.version} is running (pid {answer.pid}, up {up})", "green")
    output.line(f"  cluster  {_cluster(answer.cluster)}")
    output.line(f"  cache    {_cache(answer.cache)}")
    output.line(f"  memory   {output.size(answer.rss_bytes)}, {output.count(answer.threads, 'thread')}")
    output.line(f"  log      {answer.log_file}")
    if answer.unsaved_mounts:
        output.line(f"  the table of mounts cannot be saved: {answer.unsaved_mounts}", "yellow")
        state.hint("make room on that disk: until then the next daemon does not know of the last changes")
    _damaged(answer.damaged_files)
    _mounts(answer)
    _advise(state, answer)


class _Stopped(NamedTuple):
    """What is known without the daemon. `pid`: that of one that died without taking its mounts away."""

    pid: int | None
    remembered: list[str]
    kept: list[Kept]


def _look(state: State) -> _Stopped:
    from pachmount.overlay.kept import kept_in

    places = state.places
    pid, remembered = process.recorded_pid(places), process.remembered_mounts(places)
    died = pid is not None and bool(remembered) and not process.is_daemon(pid)
    return _Stopped(pid if died else None, remembered, kept_in(places.staged))


def stopped(state: State) -> dict[str, Any]:
    """What is known without the daemon, as `--json` prints it."""
    found, places = _look(state), state.places
    return {
        "state": "stopped" if found.pid is None else "died",
        "mount_dir": str(places.mount_dir),
        "socket": str(places.socket),
        "log_file": str(places.log_file),
        "remembered_mounts": found.remembered,
        "damaged_files": [str(file) for file in aside_in(places.mounts_file.parent)],
        "kept_changes": [asdict(each) for each in found.kept],
    }


def _show_stopped(state: State) -> None:
    pid, remembered, kept = _look(state)
    if pid is not None:
        output.line(f"pachmount is not running: the daemon (pid {pid}) died (kill -9?)", "bold red")
    else:
        output.line(f"pachmount is not running for {state.places.mount_dir}", "yellow")
    _damaged(list(map(str, aside_in(state.places.mounts_file.parent))))
    _show_kept([each for each in kept if each.name not in remembered])
    for each in kept:
        if each.name in remembered:
            output.line(f"  {each.name}: staged: {output.count(each.files, 'file')}, {output.size(each.bytes)}")
    if remembered:
        output.line(f"  {output.count(len(remembered), 'mount')} to bring back: {', '.join(remembered)}")
        state.hint("'pachmount daemon start' brings them back")
    else:
        state.hint("'pachmount mount REPO' starts it")


def _damaged(files: Sequence[str]) -> None:
    for file in files:
        why = "mounts may be missing ('pachmount mount' makes them again); delete the file when none is"
        output.line(f"  a list of mounts was damaged and is now {file}: {why}", "yellow")


def _cluster(cluster: ClusterStatus) -> str:
    if cluster.state == "none":
        return f"none: {cluster.error.why or cluster.error.error}" if cluster.error else "none"
    where = "embedded server" if cluster.embedded else cluster.address
    if cluster.state == "unreachable":
        since = f" for {output.duration(time.time() - cluster.unreachable_since)}" if cluster.unreachable_since else ""
        why = f": {cluster.error.why or cluster.error.error}" if cluster.error else ""
        return f"{where}, unreachable{since}{why}"
    parts = [where, "connected"]
    if cluster.version and not cluster.embedded:
        parts.append(f"version {cluster.version}")
    if cluster.auth == "logged-in":
        parts.append(f"logged in as {cluster.username}" if cluster.username else "logged in")
    elif cluster.auth == "logged-out":
        parts.append("not logged in")
    return ", ".join(parts)


def _cache(cache: CacheStatus) -> str:
    text = f"{output.size(cache.disk_bytes)} of {output.size(cache.disk_limit)} in {cache.directory}"
    if cache.disabled_reason:
        return f"{text} (off: {cache.disabled_reason})"
    if cache.dropped_writes:
        return f"{text} (the disk hung: {output.count(cache.dropped_writes, 'block')} not kept)"
    return text


def _mounts(answer: StatusAnswer) -> None:
    output.line("")
    if not answer.mounts:
        output.line(f"nothing is mounted in {answer.mount_dir}")
        _kept(answer)
        return
    if answer.datum is not None:
        number = f"{answer.datum.num_datums}{'' if answer.datum.all_datums_received else ' or more'}"
        output.line(f"datum {answer.datum.idx} of {number} is shown in the place of the mounts:")
    else:
        output.line(f"{output.count(len(answer.mounts), 'mount')}:")
    rows = [
        [f"  {entry.name}", views.source_text(entry), entry.mountpoint, _condition(entry)] for entry in answer.mounts
    ]
    output.table(["  NAME", "SOURCE", "AT", "STATE"], rows)
    _kept(answer)
    for warmup in answer.warmups:
        if warmup.ended is None:
            done = f"{output.size(warmup.done_bytes)} of {output.size(warmup.total_bytes)}"
            output.line(f"warming up {', '.join(warmup.mounts)}: {done}")


def _kept(answer: StatusAnswer) -> None:
    _show_kept(answer.kept_changes)


def _show_kept(kept: Sequence[KeptChanges | Kept]) -> None:
    for each in kept:
        if each.damage:
            output.line(f"changes under the name '{each.name}' are damaged: {each.damage}", "bold red")
            output.line(f"  'pachmount staged repair {each.name}' restores what can be proven, and removes nothing")
            continue
        what = f"staged: {output.count(each.files, 'file')}, {output.size(each.bytes)}" if each.files else "staged"
        of = f" of {each.source}" if each.source else ""
        output.line(f"changes{of} under the name '{each.name}' ({what}): 'pachmount staged list' tells more")


def _condition(entry: MountStatus) -> str:
    if entry.error is not None and entry.error.id != "gone":
        return f"{entry.state}: {entry.error.why or entry.error.error}"
    parts = [entry.state]
    if entry.error is not None:
        parts = [f"{entry.state}: {entry.error.error} ({entry.error.why})"]
    if entry.follow:
        parts.append(f"follows {entry.branch}")
    if entry.state == "mounted" and entry.behind > 0 and entry.error is None:
        parts.append(f"{output.count(entry.behind, 'commit')} behind {output.short(entry.latest_commit)}")
    if entry.staged is not None:
        parts.append(_staged(entry.staged))
    if entry.note and entry.error is None:
        parts.append(entry.note)
    return ", ".join(parts)


def _staged(staged: StagedStatus) -> str:
    if staged.files:
        return f"staged: {output.count(staged.files, 'file')}, {output.size(staged.bytes)}"
    return "staged: something deleted or renamed" if staged.changed else "read-write"


def _advise(state: State, answer: StatusAnswer) -> None:
    behind = [entry.name for entry in answer.mounts if entry.behind > 0 and not entry.follow]
    lost = [entry.error for entry in answer.mounts if entry.error is not None and entry.error.id == "gone"]
    if answer.cluster.state == "none":
        state.hint("'pachmount login ADDRESS' connects to a cluster, 'pachmount login --local' to the embedded server")
    elif answer.cluster.auth == "logged-out":
        state.hint("pachmount login")
    elif answer.cluster.state == "unreachable":
        state.hint("cached data stays readable; 'pachmount doctor' looks for the cause")
    elif lost:
        state.hint(lost[0].hint)
    elif answer.datum is not None:
        state.hint("'pachmount datum unmount' brings back what was mounted before")
    elif behind:
        state.hint(f"'pachmount refresh {' '.join(behind)}' moves to the newest commit")
    elif not answer.mounts:
        state.hint("'pachmount list' shows what can be mounted")
