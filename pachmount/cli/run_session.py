"""A run from the first mount to the last: a daemon for it alone, workers, outputs."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pachmount import connecting, names, paths
from pachmount.cli import output, run_report, uploading
from pachmount.cli.run_places import Place, PrivatePlace, SharedPlace
from pachmount.cli.state import State
from pachmount.client import DaemonClient
from pachmount.datums.model import Datum, Input
from pachmount.errors import PachmountError, UsageError
from pachmount.running import merge, reports
from pachmount.running.choose import choose, user_of
from pachmount.running.command import User
from pachmount.running.environment import of_datum
from pachmount.running.job import Job, Numbered, Tally
from pachmount.running.messages import Order
from pachmount.running.pool import Pool
from pachmount.running.records import RunDirectory, code_key
from pachmount.running.transform import Transform
from pachmount.running.worker import Setup

if TYPE_CHECKING:
    from pachmount.pfs.client import PfsClient

USUAL_JOBS = 4


@dataclass(frozen=True)
class Wishes:
    """What is to be run, and what becomes of it; all paths are absolute. `source` is the input, given the project of
    repos that name none."""

    title: str
    source: Callable[[str], Input]
    transform: Transform
    jobs: int
    datums: tuple[str, ...]
    fail_fast: bool
    again: bool
    out: Path | None
    replace: bool
    commit_out: str
    run_dir: Path
    code: tuple[Path, ...]
    junit: Path | None
    serial: bool


def run(state: State, wishes: Wishes) -> int:
    """Run it; the exit code."""
    from pachmount.pfs.upload import check_import

    _check(wishes, state.places.mount_dir if wishes.serial else paths.SYSTEM_MOUNT_DIR)
    setup_directory, user = _surroundings(state, wishes.transform)
    with ExitStack() as stack:
        directory = stack.enter_context(RunDirectory(wishes.run_dir))
        if directory.damage:
            state.note(directory.damage)
        place: Place = SharedPlace(state) if wishes.serial else PrivatePlace()
        setup = Setup(wishes.transform, dict(os.environ), setup_directory, place.stage, user)
        jobs = 1 if wishes.serial else wishes.jobs or min(USUAL_JOBS, os.cpu_count() or 1)
        pool = stack.enter_context(Pool(setup, jobs))  # before anything in this process has threads
        daemon = place.start(stack)
        client, project = stack.enter_context(connecting.connect(daemon.status().cluster))
        if wishes.commit_out:
            check_import(client, names.parse_source(wishes.commit_out, project))
        session = _Session(state, wishes, directory, daemon, client, project)
        tally = session.run_all(pool, place)
        return session.conclude(tally)


def _check(wishes: Wishes, pfs: Path) -> None:
    """Refuse what would fail after everything was run."""
    if wishes.serial and wishes.jobs > 1:
        raise UsageError("--serial and --jobs given", "in one directory there is one datum at a time", "leave one out")
    for path in (wishes.out, wishes.run_dir, wishes.junit):
        if path is not None and path.is_relative_to(pfs):
            raise UsageError(f"cannot write to '{path}'", f"a run has another {pfs}", "choose another place")
    if wishes.out is not None:
        merge.check_target(wishes.out, replace=wishes.replace)
    if wishes.junit is not None:
        merge.check_file(wishes.junit)
    if wishes.commit_out:
        target = names.parse_source(wishes.commit_out)
        if target.commit or target.path:
            raise UsageError(f"cannot commit to '{wishes.commit_out}'", "it is a repo and a branch", "REPO[@BRANCH]")
    for path in wishes.code:
        if not path.exists():
            raise UsageError(f"no '{path}'", "--code names a file or directory")


def _surroundings(state: State, transform: Transform) -> tuple[str, User]:
    """The working directory, and whom the command runs as."""
    here = os.getcwd()
    directory = os.path.join(here, transform.working_dir)
    if not os.path.isdir(directory):
        why = f"there is no directory '{directory}' here"
        raise UsageError("cannot use the spec's working_dir", why, "give a command: pachmount run SPEC -- COMMAND")
    user = user_of(transform.user)
    if user is None:
        state.note(f"the command runs as you, not as '{transform.user}'")
    return directory, user or User()


class _Session:
    """What a run needs after its daemon has started."""

    def __init__(
        self,
        state: State,
        wishes: Wishes,
        directory: RunDirectory,
        daemon: DaemonClient,
        client: PfsClient,
        project: str,
    ) -> None:
        self._state = state
        self._wishes = wishes
        self._directory = directory
        self._daemon = daemon
        self._client = client
        self._project = project
        self._datums: Sequence[Numbered] = ()

    def run_all(self, pool: Pool, place: Place) -> Tally:
        """Run the datums that are asked for; what became of them."""
        source = self._wishes.source(self._project)
        self._datums = choose(list(self._listed(source)), self._wishes.datums)
        if self._wishes.again:
            self._directory.forget(one.datum.id for one in self._datums)
        job_id, token = uuid.uuid4().hex, self._client.token

        def order(datum: Datum, directory: str) -> Order:
            return Order(datum.id, directory, scene.place(datum), of_datum(datum, job_id, token, place.pfs))

        wishes = self._wishes
        code = code_key(wishes.transform, os.getcwd(), wishes.code)
        tally = Tally(len(self._datums))
        try:
            with ExitStack() as stack, output.progress(enabled=not self._state.quiet) as bar:
                scene = place.prepare(self._daemon, stack, source, [one.datum for one in self._datums])
                stack.callback(pool.stop)
                job = Job(self._directory, code, order, scene.prefetch, wishes.fail_fast)
                for now in job.run(pool, self._datums, tally):
                    run_report.show(bar, now)
        except KeyboardInterrupt:
            done = f"{len(tally.outcomes):,} of {output.count(tally.total, 'datum')} done"
            self._state.note(f"stopped, {done}; the same command goes on from here")
            raise
        return tally

    def _listed(self, source: Input) -> Iterator[Datum]:
        from pachmount.cli.specs import forming
        from pachmount.mounts.datum_source import DatumSource

        with output.progress(enabled=not self._state.quiet) as bar:

            def show(count: int) -> None:
                bar.update(f"looking for datums: {count:,}", 0, 1)

            for batch in DatumSource(self._client, source, how=forming()).batches(show):
                yield from batch.datums

    def conclude(self, tally: Tally) -> int:
        """Bring the outputs where they are wanted and tell how it went; the exit code."""
        wishes, answer = self._wishes, reports.summary(self._datums, tally, self._directory)
        if not self._state.as_json:
            run_report.table(answer, everything=bool(self._state.verbose))
        try:
            if tally.succeeded and (wishes.out is not None or wishes.commit_out):
                answer |= self._deliver(tally)
        finally:
            if wishes.junit is not None:
                reports.write_junit(wishes.junit, wishes.title, self._datums, tally, self._directory)
        if self._state.as_json:
            output.json_answer(answer)
        else:
            run_report.conclusion(self._state, answer)
        return 0 if tally.succeeded else 1

    def _deliver(self, tally: Tally) -> dict[str, Any]:
        """Merge the outputs, and put them where they are wanted."""
        wishes = self._wishes
        delivering = [one for one in self._datums if tally.outcomes[one.index].state != "recovered"]
        merged = merge.merge((one.datum.id, self._directory.output_of(one.datum.id)) for one in delivering)
        delivered: dict[str, Any] = {"output_files": len(merged.files), "output_bytes": merged.bytes}
        if wishes.out is not None:
            merge.put(merged, wishes.out)
            delivered["out"] = str(wishes.out)
        if wishes.commit_out:
            try:
                delivered["commit"] = self._commit(merged)
            except PachmountError as error:
                kept = f"all outputs are in '{self._directory.path}', the same command goes on from here"
                kept = f"'{wishes.out}' was written; {kept}" if wishes.out is not None else kept
                error.why = f"{error.why}; {kept}" if error.why else kept
                raise
        return delivered

    def _commit(self, merged: merge.Merged) -> str:
        from pachmount.pfs.upload import import_tree

        with (
            merge.linked(merged, self._directory.top) as together,
            output.progress(enabled=not self._state.quiet) as bar,
        ):
            target = names.parse_source(self._wishes.commit_out, self._project)
            message = f"pachmount run: {self._wishes.title}"
            show = uploading.shown_on(bar)
            made = import_tree(self._client, together, target, description=message, replace=True, progress=show)
        return f"{made.commit.repo.project}/{made.commit.repo.name}@{made.commit.branch}={made.commit.id}"
