"""Calls about projects, repos and branches."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator

from google.protobuf.empty_pb2 import Empty

from pachmount.localpfs import handles, history, messages, model, rpc
from pachmount.localpfs.access import CLUSTER, Access, of_project, of_repo
from pachmount.localpfs.database import mark_garbage
from pachmount.localpfs.handles import require
from pachmount.localpfs.model import RepoName
from pachmount.localpfs.rpc import Context
from pachmount.localpfs.status import Code, Refusal, invalid, not_found, unimplemented, unknown
from pachmount.localpfs.store import Store
from pachmount.pfs.proto import auth_pb2, pfs_pb2

_MAX_PROJECT_NAME = 51


class RepoService:
    """Projects, repos and branches over one store."""

    def __init__(self, store: Store, access: Access) -> None:
        self._store = store
        self._access = access

    def methods(self) -> dict[str, rpc.Handler]:
        return {
            "CreateProject": rpc.unary(self._create_project, pfs_pb2.CreateProjectRequest),
            "InspectProject": rpc.unary(self._inspect_project, pfs_pb2.InspectProjectRequest),
            "InspectProjectV2": rpc.unary(self._inspect_project_v2, pfs_pb2.InspectProjectV2Request),
            "ListProject": rpc.stream(self._list_project, pfs_pb2.ListProjectRequest),
            "DeleteProject": rpc.unary(self._delete_project, pfs_pb2.DeleteProjectRequest),
            "CreateRepo": rpc.unary(self._create_repo, pfs_pb2.CreateRepoRequest),
            "InspectRepo": rpc.unary(self._inspect_repo, pfs_pb2.InspectRepoRequest),
            "ListRepo": rpc.stream(self._list_repo, pfs_pb2.ListRepoRequest),
            "DeleteRepos": rpc.unary(self._delete_repos, pfs_pb2.DeleteReposRequest),
            "DeleteRepo": rpc.unary(self._delete_repo, pfs_pb2.DeleteRepoRequest),
            "CreateBranch": rpc.unary(self._create_branch, pfs_pb2.CreateBranchRequest),
            "InspectBranch": rpc.unary(self._inspect_branch, pfs_pb2.InspectBranchRequest),
            "ListBranch": rpc.stream(self._list_branch, pfs_pb2.ListBranchRequest),
            "DeleteBranch": rpc.unary(self._delete_branch, pfs_pb2.DeleteBranchRequest),
        }

    def _create_project(self, request: pfs_pb2.CreateProjectRequest, context: Context) -> Empty:
        name = _project_name(request)
        self._access.require(context, CLUSTER, auth_pb2.PROJECT_CREATE)
        with self._store.change() as db:
            exists = model.project_exists(db, name)
            if request.update and not exists:
                raise not_found(f'get project {name}: get project by name: project "{name}" not found')
            if request.update:
                db.execute("UPDATE project SET description = ? WHERE name = ?", (request.description, name))
            elif exists:
                raise Refusal(Code.ALREADY_EXISTS, f'project "{name}" already exists')
            else:
                row = (name, request.description, time.time_ns())
                db.execute("INSERT INTO project (name, description, created) VALUES (?, ?, ?)", row)
                self._access.created(context, of_project(name))
        return Empty()

    def _inspect_project(self, request: pfs_pb2.InspectProjectRequest, context: Context) -> pfs_pb2.ProjectInfo:
        if not request.HasField("project"):
            raise invalid("validate request: invalid InspectProjectRequest.Project: value is required")
        name = request.project.name
        with self._store.database.read() as db:
            row = db.execute("SELECT name, description, created FROM project WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise not_found(f'error getting project "{name}": get project by name: project "{name}" not found')
        return self._project_info(row, context)

    def _inspect_project_v2(
        self, request: pfs_pb2.InspectProjectV2Request, context: Context
    ) -> pfs_pb2.InspectProjectV2Response:
        asked = pfs_pb2.InspectProjectRequest.FromString(request.SerializeToString())
        return pfs_pb2.InspectProjectV2Response(info=self._inspect_project(asked, context), defaults_json="{}")

    def _list_project(self, _: pfs_pb2.ListProjectRequest, context: Context) -> Iterator[pfs_pb2.ProjectInfo]:
        with self._store.database.read() as db:
            rows = db.execute("SELECT name, description, created FROM project ORDER BY key").fetchall()
        return iter([self._project_info(row, context) for row in rows])

    def _project_info(self, row: tuple[str, str, int], context: Context) -> pfs_pb2.ProjectInfo:
        name, description, created = row
        return pfs_pb2.ProjectInfo(
            project=pfs_pb2.Project(name=name),
            description=description,
            created_at=messages.timestamp(created),
            auth_info=self._access.info(context, of_project(name)),
        )

    def _delete_project(self, request: pfs_pb2.DeleteProjectRequest, context: Context) -> Empty:
        name = _project_name(request)
        needed = (auth_pb2.PROJECT_DELETE, auth_pb2.PROJECT_MODIFY_BINDINGS)
        prefix = f'user is not authorized to delete project "{name}": '
        self._access.require(context, of_project(name), *needed, prefix=prefix)
        with self._store.change() as db:
            if not model.project_exists(db, name):
                raise not_found(f'delete project "{name}": project "{name}" not found')
            left = [repo.name for repo in model.repos(db) if repo.name.project == name]
            if left and request.force:
                raise unknown(f'delete project "{name}": it still has repos; delete them first')
            if left:
                lines = "\n".join(f"repo {repo} still exists" for repo in left)
                raise Refusal(Code.FAILED_PRECONDITION, f"cannot delete project {name}: {lines}")
            db.execute("DELETE FROM project WHERE name = ?", (name,))
            self._access.removed(of_project(name))
        return Empty()

    def _create_repo(self, request: pfs_pb2.CreateRepoRequest, context: Context) -> Empty:
        require(request, "repo", "repo cannot be nil")
        asked = handles.full_name(request.repo)
        handles.check_name(asked.name)
        if asked.name == handles.FILESETS_REPO:
            raise unknown(f"{asked.name} is a reserved name")
        name = handles.repo_name(request.repo) if asked.type else RepoName(asked.project, asked.name, "user")
        with self._store.change() as db:
            if not model.project_exists(db, name.project):
                raise not_found(f'cannot find project "{name.project}": project "{name.project}" not found')
            prefix = "failed to create repo: "
            self._access.require(context, of_project(name.project), auth_pb2.PROJECT_CREATE_REPO, prefix=prefix)
            found = model.find_repo(db, name)
            if found is not None:
                if not request.update:
                    raise Refusal(Code.ALREADY_EXISTS, f"repo {name} already exists")
                prefix = f'could not update description of "{name}": '
                self._access.require(context, of_repo(name), auth_pb2.REPO_WRITE, prefix=prefix)
                db.execute("UPDATE repo SET description = ? WHERE key = ?", (request.description, found.key))
                return Empty()
            if name.type != "user" and model.find_repo(db, name._replace(type="user")) is None:
                raise not_found("cannot create a system repo without a corresponding 'user' repo")
            db.execute(
                "INSERT INTO repo (project, name, type, description, created) VALUES (?, ?, ?, ?, ?)",
                (*name, request.description, time.time_ns()),
            )
            if name.type == "user":
                self._access.created(context, of_repo(name))
        return Empty()

    def _inspect_repo(self, request: pfs_pb2.InspectRepoRequest, context: Context) -> pfs_pb2.RepoInfo:
        require(request, "repo", "repo cannot be nil")
        name = handles.repo_name(request.repo)
        with self._store.database.read() as db:
            found = handles.require_repo(db, name)
            return messages.repo_info(db, found, self._access.info(context, of_repo(name)), details=True)

    def _list_repo(self, request: pfs_pb2.ListRepoRequest, context: Context) -> Iterator[pfs_pb2.RepoInfo]:
        projects = {project.name for project in request.projects}
        with self._store.database.read() as db:
            found = [
                repo
                for repo in model.repos(db)
                if request.type in ("", repo.name.type)
                and (not projects or repo.name.project in projects)
                and self._visible(context, repo.name)
            ]
            if request.page.page_size > 0:
                first = request.page.page_size * request.page.page_index
                found = found[first : first + request.page.page_size]
            infos = [
                messages.repo_info(db, repo, self._access.info(context, of_repo(repo.name)), details=False)
                for repo in found
            ]
        return iter(infos)

    def _visible(self, context: Context, name: RepoName) -> bool:
        return self._access.allows(context, of_project(name.project), auth_pb2.PROJECT_LIST_REPO) or (
            self._access.allows(context, of_repo(name), auth_pb2.REPO_READ)
        )

    def _delete_repo(self, request: pfs_pb2.DeleteRepoRequest, context: Context) -> pfs_pb2.DeleteRepoResponse:
        if not request.HasField("repo"):
            raise invalid("no repo specified")
        name = handles.repo_name(request.repo)
        with self._store.change() as db:
            if model.find_repo(db, name) is None or not self._may_delete(context, name):
                return pfs_pb2.DeleteRepoResponse()
            self._remove(db, name)
        return pfs_pb2.DeleteRepoResponse(deleted=True)

    def _delete_repos(self, request: pfs_pb2.DeleteReposRequest, context: Context) -> pfs_pb2.DeleteReposResponse:
        projects = {project.name for project in request.projects}
        with self._store.change() as db:
            doomed = [
                repo.name
                for repo in model.repos(db)
                if (request.all or repo.name.project in projects) and self._may_delete(context, repo.name)
            ]
            for name in doomed:
                self._remove(db, name)
        return pfs_pb2.DeleteReposResponse(repos=[handles.repo_message(name) for name in doomed])

    def _may_delete(self, context: Context, name: RepoName) -> bool:
        return self._access.allows(context, of_repo(name), auth_pb2.REPO_DELETE)

    def _remove(self, db: sqlite3.Connection, name: RepoName) -> None:
        """Delete a repo, a user's one with the others of its name."""
        kinds = handles.REPO_TYPES if name.type == "user" else (name.type,)
        for kind in kinds:
            db.execute("DELETE FROM repo WHERE project = ? AND name = ? AND type = ?", (*name[:2], kind))
        mark_garbage(db)
        if name.type == "user":
            self._access.removed(of_repo(name))

    def _create_branch(self, request: pfs_pb2.CreateBranchRequest, context: Context) -> Empty:
        require(request, "branch", "branch cannot be nil")
        require(request.branch, "repo", "branch repo cannot be nil")
        repo = handles.repo_name(request.branch.repo)
        handles.check_branch_name(request.branch.name)
        self._access.require(context, of_repo(repo), auth_pb2.REPO_CREATE_BRANCH)
        if request.provenance or request.HasField("trigger"):
            raise unimplemented("provenance and triggers belong to pipelines, which the embedded server does not run")
        with self._store.change() as db:
            head = None
            if request.HasField("head"):
                if handles.commit_repo(request.head) != repo:
                    raise unknown("branch and head commit must belong to the same repo")
                for name in handles.commit_repos(request.head):
                    if name != repo:
                        self._access.require(context, of_repo(name), auth_pb2.REPO_READ)
                head = handles.resolve(db, request.head)
            history.create_branch(db, repo, request.branch.name, head)
        return Empty()

    def _inspect_branch(self, request: pfs_pb2.InspectBranchRequest, _: Context) -> pfs_pb2.BranchInfo:
        require(request, "branch", "branch cannot be nil")
        require(request.branch, "repo", "branch repo cannot be nil")
        repo = handles.repo_name(request.branch.repo)
        with self._store.database.read() as db:
            return messages.branch_info(db, handles.require_branch(db, repo, request.branch.name))

    def _list_branch(self, request: pfs_pb2.ListBranchRequest, context: Context) -> Iterator[pfs_pb2.BranchInfo]:
        self._access.require(context, of_repo(handles.full_name(request.repo)), auth_pb2.REPO_LIST_BRANCH)
        with self._store.database.read() as db:
            found = model.branches(db, self._repo_to_list(db, request))
            if request.HasField("repo") and not request.repo.name:
                project = handles.full_name(request.repo).project
                found = [branch for branch in found if branch.repo.project == project]
            if not request.reverse:
                found.reverse()
            infos = [messages.branch_info(db, branch) for branch in found]
        return iter(infos)

    def _repo_to_list(self, db: sqlite3.Connection, request: pfs_pb2.ListBranchRequest) -> RepoName | None:
        """None for a request that names no repo, which means all of them."""
        if not request.repo.name:
            return None
        return handles.require_repo(db, handles.repo_name(request.repo)).name

    def _delete_branch(self, request: pfs_pb2.DeleteBranchRequest, context: Context) -> Empty:
        if not request.HasField("branch"):
            raise invalid("validate request: invalid DeleteBranchRequest.Branch: value is required")
        repo = handles.repo_name(request.branch.repo)
        self._access.require(context, of_repo(repo), auth_pb2.REPO_DELETE_BRANCH)
        with self._store.change() as db:
            branch = handles.require_branch(db, repo, request.branch.name)
            db.execute("DELETE FROM branch WHERE key = ?", (branch.key,))
        return Empty()


def _project_name(request: pfs_pb2.CreateProjectRequest | pfs_pb2.DeleteProjectRequest) -> str:
    require(request, "project", "invalid project name: nil project")
    name = request.project.name
    try:
        handles.check_name(name)
    except Refusal as refusal:
        raise unknown(f"invalid project name: {refusal.text}") from refusal
    if not re.match("[a-zA-Z0-9]", name):
        raise unknown("invalid project name: project names must start with an alphanumeric character")
    if len(name) > _MAX_PROJECT_NAME:
        longer = len(name) - _MAX_PROJECT_NAME
        text = f'project name "{name}" is {longer} characters longer than the {_MAX_PROJECT_NAME} max'
        raise unknown(f"invalid project name: {text}")
    return name
