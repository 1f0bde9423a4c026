"""`doctor`: runs the checks and prints what was found, or what to do."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pachmount import __version__
from pachmount.cli import options as opt
from pachmount.cli import output, process
from pachmount.cli.state import State
from pachmount.errors import DaemonNotRunningError, ExitCode, PachmountError

if TYPE_CHECKING:
    from pachmount.api.schema import ClusterStatus, StatusAnswer
    from pachmount.cli.checks import Check
    from pachmount.client import DaemonClient

CLOCK_TOLERANCE = 60.0
FULL = 0.9
"""The part of staging_size that is worth a word."""
SOON = 3600.0
"""A login that ends within so many seconds is told."""


def doctor(state: State, as_json: opt.Json = False) -> ExitCode:
    """Check everything that the program needs.

    \b
    Examples:
      pachmount doctor
      pachmount doctor --json | jq '.checks[] | select(.verdict == "problem")'

    For each thing: found, or what to do about it. Nothing is started or changed.
    Exit code 0: no problem; 1: at least one.
    """
    from pachmount.cli.checks import Verdict

    checks = all_checks(state)
    problems = [check for check in checks if check.verdict is Verdict.PROBLEM]
    if as_json:
        output.json_answer({"ok": not problems, "checks": [as_dict(check) for check in checks]})
    else:
        _print(checks)
        output.line("")
        output.line(f"{output.count(len(problems), 'problem')} found" if problems else "no problems found")
    return ExitCode.FAILURE if problems else ExitCode.OK


def all_checks(state: State) -> list[Check]:
    """What is looked at, in this order: the machine, the daemon, the cluster."""
    from pachmount.cli.checks import system_checks

    return [*system_checks(state.places), *_daemon_checks(state)]


def as_dict(check: Check) -> dict[str, str]:
    return {"name": check.name, "verdict": check.verdict.value, "found": check.found, "advice": check.advice}


def _print(checks: list[Check]) -> None:
    styles = {"ok": "green", "note": "yellow", "problem": "bold red"}
    for check in checks:
        label = check.verdict.value
        output.line(f"{label:8} {check.name}: {check.found}", "" if label == "ok" else styles[label])
        if check.advice:
            output.line(f"{'':8} → {check.advice}")


def _daemon_checks(state: State) -> list[Check]:
    from pachmount.cli.checks import note, ok, problem

    client = state.client()
    try:
        answer = client.status()
    except DaemonNotRunningError:
        return _without_daemon(state)
    except PachmountError as error:
        return [problem("daemon", str(error), error.hint or "pachmount daemon restart")]
    found = f"running (pid {answer.pid}, version {answer.version})"
    if answer.version == __version__:
        checks = [ok("daemon", found)]
    else:
        checks = [note("daemon", f"{found}, this program is {__version__}", "pachmount daemon restart")]
    return [*checks, *_daemon_troubles(answer), *_cluster_checks(client, answer)]


def _daemon_troubles(answer: StatusAnswer) -> list[Check]:
    """What the daemon says is wrong with its cache and its mounts, and what waits to be shown again."""
    from pachmount.cli.checks import note, problem

    checks = []
    if answer.cache.disabled_reason:
        advice = f"free some space for {answer.cache.directory}, or: pachmount cache clear"
        checks.append(problem("cache", f"off: {answer.cache.disabled_reason}", advice))
    for mount in answer.mounts:
        if mount.error is not None:
            checks.append(
                problem(
                    f"mount {mount.name}",
                    mount.status or mount.error.error,
                    mount.error.hint or f"pachmount mount {mount.repo}",
                )
            )
        elif mount.note:
            checks.append(note(f"mount {mount.name}", mount.note, "pachmount status"))
        if mount.staged is not None and mount.staged.bytes > FULL * mount.staged.limit > 0:
            text = f"{output.size(mount.staged.bytes)} of {output.size(mount.staged.limit)} are staged"
            checks.append(note(f"mount {mount.name}", text, f"pachmount commit {mount.name}, or raise staging_size"))
    for kept in answer.kept_changes:
        advice = f"pachmount diff {kept.name}; pachmount staged export {kept.name} {kept.name}-staged"
        checks.append(note("kept changes", f"under the name {kept.name}", advice))
    return checks


def _without_daemon(state: State) -> list[Check]:
    from pachmount.cli.checks import note, problem

    remembered = process.remembered_mounts(state.places)
    pid = process.recorded_pid(state.places)
    if pid is not None and remembered and not process.is_daemon(pid):
        return [
            problem("daemon", f"it died (pid {pid})", f"pachmount daemon start brings back {', '.join(remembered)}")
        ]
    return [note("daemon", "not running; 'pachmount mount' starts it"), *_cluster_without_daemon()]


def _cluster_without_daemon() -> list[Check]:
    """Ask the configured cluster ourselves."""
    from pachmount.cli.checks import ok, problem
    from pachmount.pfs.client import PfsClient
    from pachmount.pfs.contexts import ContextFile

    try:
        context = ContextFile.load().active()
    except PachmountError:
        return []  # reported by the check of the context file
    if not context.address:
        return [ok("cluster", "the embedded server, started when it is needed")]
    try:
        with PfsClient(context.address, server_cas=context.server_cas, call_timeout=5.0, retry_for=0.0) as client:
            return [ok("cluster", f"{context.address} answers, version {client.version()}")]
    except PachmountError as error:
        return [problem("cluster", str(error), error.hint or "pachmount login ADDRESS")]


def _cluster_checks(client: DaemonClient, answer: StatusAnswer) -> list[Check]:
    from pachmount.cli.checks import ok, problem

    cluster = answer.cluster
    where = "the embedded server" if cluster.embedded else cluster.address
    if cluster.state == "none" and cluster.error is not None and cluster.error.id == "store-damaged":
        return [problem("cluster", f"the embedded server does not start: {cluster.error.why}", cluster.error.hint)]
    if cluster.state == "none":
        return [problem("cluster", "none is connected", "pachmount login ADDRESS, or pachmount login --local")]
    if cluster.state == "unreachable":
        why = f": {cluster.error.why or cluster.error.error}" if cluster.error else ""
        advice = (cluster.error.hint if cluster.error else "") or "pachmount login ADDRESS"
        return [problem("cluster", f"{where} does not answer{why}", advice)]
    if cluster.auth == "logged-out":
        return [problem("cluster", f"{where} asks for a login", "pachmount login --token-stdin < token")]
    version = f", version {cluster.version}" if cluster.version else ""
    return [ok("cluster", f"{where} answers{version}"), *_login_end(cluster), *_clock_difference(client)]


def _login_end(cluster: ClusterStatus) -> list[Check]:
    """A login that ends soon ends in the middle of the work."""
    from pachmount.cli.checks import note, ok

    if cluster.auth != "logged-in":
        return []
    who = cluster.username or "somebody"
    left = cluster.login_expires - time.time() if cluster.login_expires else None
    if left is None:
        return [ok("login", who)]
    text = f"{who}, for {output.duration(left)} more"
    return [note("login", text, "pachmount login") if left < SOON else ok("login", text)]


def _clock_difference(client: DaemonClient) -> list[Check]:
    """The cluster does not tell its time, but a commit from the future shows that ours is behind."""
    from pachmount.cli.checks import note, ok

    try:
        newest = [client.commits(f"{repo.project}/{repo.repo}", number=1) for repo in client.repos()[:5]]
    except PachmountError as error:
        return [note("cluster's clock", f"unknown: {error}")]
    times = [commit.finished or 0.0 for commits in newest for commit in commits]
    ahead = max(times, default=0.0) - time.time()
    if ahead > CLOCK_TOLERANCE:
        return [
            note("cluster's clock", f"at least {output.duration(ahead)} ahead of this machine's", "set the clock (ntp)")
        ]
    return [ok("cluster's clock", "no commit comes from the future")] if times else []
