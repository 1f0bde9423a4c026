"""Commits that do not exist any more under a mount: noticed, told apart, explained."""

from __future__ import annotations

from pachmount.errors import GoneError, NotFoundError, PachmountError
from pachmount.mounts.cluster import Cluster
from pachmount.mounts.mount import MountSpec, RepoIdentity
from pachmount.names import Source
from pachmount.pfs.model import CommitRef, RepoRef

LOOK_SECONDS = 5.0
"""How long the question may take whether a commit exists."""
_ROUNDING_SECONDS = 1e-3


def find_loss(cluster: Cluster, spec: MountSpec) -> GoneError | None:
    """Why the commit of a mount does not exist any more; None if it exists, or the mount has none.

    Raises what keeps us from asking: only a clear NOT_FOUND of the cluster counts.
    """
    source = spec.source
    if not source.commit:
        return None
    repo = RepoRef(source.project, source.repo)
    try:
        found = cluster.client.inspect_commit(CommitRef(repo, source.commit), timeout=LOOK_SECONDS)
        if found.commit.id == source.commit:
            return None  # else it is a commit of other repos, and the cluster tells what came of it here
    except NotFoundError:
        pass
    what = f"commit {source.commit[:8]} of {repo} does not exist any more"
    return GoneError(what, *_explanation(cluster, spec))


def is_elsewhere(cluster: Cluster, spec: MountSpec) -> bool:
    """Whether another cluster answers than the one that a mount's commit is of. Raises what keeps us from asking."""
    known = spec.identity.cluster
    return bool(known) and cluster.cluster_id(fresh=True) != known


def require_same_cluster(cluster: Cluster, spec: MountSpec) -> None:
    """GoneError if another cluster answers than the one that a mount's commit is of."""
    if is_elsewhere(cluster, spec):
        raise GoneError(f"cannot go on with mount '{spec.name}'", *_explanation(cluster, spec))


def identity(cluster: Cluster, created: float) -> RepoIdentity:
    """What tells a repo that was made at `created` from others of its name, on the cluster that answers now."""
    try:
        return RepoIdentity(cluster.cluster_id(fresh=True), created)
    except PachmountError:
        return RepoIdentity("", created)


def _explanation(cluster: Cluster, spec: MountSpec) -> tuple[str, str]:
    """Why a commit is gone, and what helps."""
    source, name = spec.source, spec.name
    repo, client = RepoRef(source.project, source.repo), cluster.client
    branch = Source(source.project, source.repo, source.branch)
    if spec.mode == "rw":
        end = f"pachmount unmount {name} --keep"
        move = f"'{end}' ends the mount, and keeps what is staged"
    else:
        end = f"pachmount unmount {name}"
        move = (
            f"'pachmount refresh {name}' shows what {branch} has now, '{end}' ends the mount" if source.branch else end
        )
    if is_elsewhere(cluster, spec):
        why = f"another cluster answers at {cluster.connection.address} than the one that it was mounted from"
        return why, move
    try:
        created = client.inspect_repo(repo).created or 0.0
    except NotFoundError:
        return f"the repo {repo} was deleted", f"'{end}' ends the mount, 'pachmount list' shows the repos"
    known = spec.identity.created
    if known and created and abs(created - known) > _ROUNDING_SECONDS:
        return f"the repo {repo} was deleted and made anew", move
    if source.branch:
        try:
            client.inspect_branch(repo, source.branch)
        except NotFoundError:
            why = f"it was deleted, and so was the branch '{source.branch}'"
            return why, f"'{end}' ends the mount, 'pachmount list {repo}' shows the branches"
    return "it was dropped or squashed on the cluster", move
