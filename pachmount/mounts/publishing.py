"""Publishing: code into the context repo of a pipeline, a branch at that commit, and the pipeline that runs it."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pachmount.datums.model import leaves
from pachmount.errors import (
    ClusterTimeoutError,
    ClusterUnreachableError,
    NeedsClusterError,
    NotFoundError,
    PachmountError,
)
from pachmount.mounts.pipelines import needs_pipelines
from pachmount.names import DEFAULT_BRANCH
from pachmount.pfs.client import PfsClient
from pachmount.pfs.commits import FINISH_SECONDS, Attempt, make_commit, usable_branch
from pachmount.pfs.model import BranchInfo, CommitInfo, CommitRef, CommitState, PipelineInfo, RepoRef
from pachmount.pfs.pipeline_calls import ALL_VERSIONS, spec_json
from pachmount.pfs.upload import ensure_repo
from pachmount.publishing.plan import BRANCH_PREFIX, UNKNOWN_BRANCH, Plan

log = logging.getLogger(__name__)

SETTLED_SECONDS = 300.0
"""A branch whose commit is that much older than ours is of no publishing that is still under way."""

_OUR_BRANCH = re.compile(re.escape(BRANCH_PREFIX) + "(?P<commit>[0-9a-f]{32})")


@dataclass(frozen=True)
class Published:
    """What came of a plan. `spec` is the pipeline as it was sent; `warnings` are for a person.

    After a dry run `branch` and `commit` are "". `version` is None then, and where the cluster did not tell it.
    """

    branch: str
    commit: str
    version: int | None
    spec: dict[str, Any]
    warnings: tuple[str, ...] = ()


def try_out(client: PfsClient, plan: Plan) -> Published:
    """Check all that `publish` checks, and make nothing. Raises what it does, but warns of a NeedsClusterError."""
    spec = spec_json(plan.pipeline(UNKNOWN_BRANCH))
    warnings: tuple[str, ...] = ()
    try:
        _check(client, plan)
    except NeedsClusterError as error:
        warnings = (str(error),)
    return Published("", "", None, spec, warnings)


def publish(client: PfsClient, plan: Plan, *, settled_s: float = SETTLED_SECONDS) -> Published:
    """Make or change the pipeline of a plan.

    Raises NeedsClusterError, NotFoundError (no such project or input repo), BusyError (an open commit on the context
    repo's master), what the cluster refuses, and what the connection may raise. The `why` of an error tells what had
    been made until then; all of that is used or replaced by the next try.

    Branches of the context repo that no version of the pipeline reads are removed in the end, `settled_s` (seconds)
    after the commit that they are for.
    """
    spec_json(plan.pipeline(UNKNOWN_BRANCH))  # what cannot be told has to fail before anything is made
    _check(client, plan)
    repo = RepoRef(plan.project, plan.context_repo)
    made: list[str] = []
    with _telling(made):
        if ensure_repo(client, repo):
            made.append(f"repo {repo}")
        commit = _commit(client, repo, plan)
        made.append(f"commit {commit.commit.id} on its {DEFAULT_BRANCH}")
        branch = BRANCH_PREFIX + commit.commit.id
        client.create_branch(repo, branch, CommitRef(repo, commit.commit.id))
        made.append(f"its branch {branch}")
        _create(client, plan, repo, branch, made)
    warnings: list[str] = []
    version = _version(client, plan, warnings)
    _remove_unused(client, plan, repo, commit, settled_s, warnings)
    return Published(branch, commit.commit.id, version, spec_json(plan.pipeline(branch)), tuple(warnings))


def _check(client: PfsClient, plan: Plan) -> None:
    """See that the cluster runs pipelines, has the project and all input repos, and can take the code."""
    with needs_pipelines():
        client.pipelines.find(plan.project, plan.name)
    client.inspect_project(plan.project)
    for repo, name in {RepoRef(leaf.project, leaf.repo): leaf.name for leaf in leaves(plan.input)}.items():
        try:
            client.inspect_repo(repo)
        except NotFoundError as error:
            raise NotFoundError(f"input '{name}': repo {repo} not found", hint="pachmount list") from error
    usable_branch(client, RepoRef(plan.project, plan.context_repo), DEFAULT_BRANCH)


@contextmanager
def _telling(made: list[str]) -> Iterator[None]:
    """An error within tells what had been made before it."""
    try:
        yield
    except PachmountError as error:
        if made:
            told = f"made before: {', '.join(made)}"
            error.why = f"{error.why}; {told}" if error.why else told
        raise


def _commit(client: PfsClient, repo: RepoRef, plan: Plan) -> CommitInfo:
    """The files of a plan, and nothing else, as a finished commit on the context repo's master."""
    before = usable_branch(client, repo, DEFAULT_BRANCH)
    with client.create_file_set() as writer:
        for file in plan.files:
            writer.add_file(f"/{file.path}", file.text.encode())
    description = f"code of pipeline {plan.name}"
    attempt = Attempt(DEFAULT_BRANCH, before.head.id if before is not None else "", before is None, description)
    info = make_commit(client, repo, attempt, writer.file_set, any_parent=True, prune="/")
    if info.state is not CommitState.FINISHED:
        why = f"the cluster did not finish commit {info.commit.id} within {FINISH_SECONDS:g} s"
        raise ClusterTimeoutError(f"the code of pipeline {plan.name} is not there yet", why, "try again later")
    return info


def _create(client: PfsClient, plan: Plan, repo: RepoRef, branch: str, made: list[str]) -> None:
    """Create the pipeline; without it the branch goes again, unless the pipeline may be there all the same."""
    try:
        client.pipelines.create(plan.pipeline(branch))
    except ClusterUnreachableError:
        made.append("perhaps the pipeline")
        raise
    except PachmountError:
        try:
            client.delete_branch(repo, branch)
            made.pop()
        except PachmountError as error:
            log.warning("branch %s@%s stays behind: %s", repo, branch, error)
        raise


def _version(client: PfsClient, plan: Plan, warnings: list[str]) -> int | None:
    """That of the pipeline now."""
    try:
        found = client.pipelines.find(plan.project, plan.name)
    except PachmountError as error:
        warnings.append(f"the pipeline was published, but cannot be looked at: {error}")
        return None
    return found.version if found is not None else None


def _remove_unused(
    client: PfsClient, plan: Plan, repo: RepoRef, ours: CommitInfo, settled_s: float, warnings: list[str]
) -> None:
    """Remove what earlier tries left in the context repo. What goes wrong is a warning: the pipeline is there."""
    try:
        versions = client.pipelines.list([plan.project], name=plan.name, history=ALL_VERSIONS)
        used = _used_branches(versions)
        if used is None:
            warnings.append(f"unused branches of {repo} were kept: the cluster does not tell what each version reads")
            return
        for branch in client.list_branches(repo):
            if (repo, branch.name) not in used and _is_left_behind(client, branch, ours, settled_s):
                client.delete_branch(repo, branch.name)
                log.info("removed the unused branch %s@%s", repo, branch.name)
    except PachmountError as error:
        warnings.append(f"unused branches of {repo} were kept: {error}")


def _used_branches(versions: list[PipelineInfo]) -> set[tuple[RepoRef, str]] | None:
    """All that versions of a pipeline read; None if that is not known of every one."""
    known = [version.inputs for version in versions if version.inputs is not None]
    return set().union(*known) if known and len(known) == len(versions) else None


def _is_left_behind(client: PfsClient, branch: BranchInfo, ours: CommitInfo, settled_s: float) -> bool:
    """Whether a branch was made by a publishing that is over."""
    made = _OUR_BRANCH.fullmatch(branch.name)
    if made is None or made["commit"] != branch.head.id or branch.head.id == ours.commit.id:
        return False
    finished = client.inspect_commit(branch.head).finished
    return finished is not None and ours.finished is not None and finished + settled_s <= ours.finished
