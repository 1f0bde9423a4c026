"""The routes about the cluster: health, status, configuration, and what it holds."""

from __future__ import annotations

import logging
from functools import partial

from pachmount.api import answers, schema
from pachmount.api.decode import decode_body
from pachmount.api.handlers import Handler, number_of
from pachmount.errors import InvalidAddressError, PachmountError, UsageError
from pachmount.names import DEFAULT_PROJECT, parse_source
from pachmount.pfs.address import parse_address
from pachmount.pfs.model import AuthState, RepoRef

log = logging.getLogger(__name__)

DEFAULT_COMMITS = 100


class HealthHandler(Handler):
    """GET /health: the daemon runs, whatever the cluster does."""

    begins_something = False

    async def get(self) -> None:
        self.answer(schema.HealthAnswer())


class StatusHandler(Handler):
    """GET /status (ours): everything, from memory; branch positions at most a second old where the cluster answers."""

    begins_something = False
    compatible = False

    async def get(self) -> None:
        self.answer(await self.poll(self._status))

    def _status(self) -> schema.StatusAnswer:
        try:
            self.services.cluster.identity()
            self.services.manager.look_at_heads()
        except PachmountError as error:
            log.debug("status without the cluster: %s", error)  # the answer shows why
        return self.services.status()


class ReposHandler(Handler):
    """GET /repos: all user repos of all projects, with their branches and what we may do."""

    async def get(self) -> None:
        self.answer(await self.look(self._repos))

    def _repos(self) -> list[dict[str, object]]:
        self.require_login()
        return [answers.repo(info).model_dump() for info in self.services.cluster.client.list_repos()]


class ProjectsHandler(Handler):
    """GET /projects: all projects, `default` first."""

    async def get(self) -> None:
        self.answer(await self.look(self._projects))

    def _projects(self) -> list[dict[str, object]]:
        self.require_login()
        found = self.services.cluster.client.list_projects()
        found.sort(key=lambda info: info.name != DEFAULT_PROJECT)
        return [answers.project(info).model_dump(exclude_none=True) for info in found]


class BranchesHandler(Handler):
    """GET /branches?repo=PROJECT/REPO (ours): the branches of a repo, newest first."""

    compatible = False

    async def get(self) -> None:
        repo = _repo(self.get_query_argument("repo", ""))
        self.answer(await self.look(lambda: self._branches(repo)))

    def _branches(self, repo: RepoRef) -> list[dict[str, object]]:
        self.require_login()
        self.services.cluster.client.inspect_repo(repo)
        found = self.services.cluster.client.list_branches(repo)
        return [
            schema.BranchAnswer(project=repo.project, repo=repo.name, branch=info.name, head=info.head.id).model_dump()
            for info in found
        ]


class CommitsHandler(Handler):
    """GET /commits?repo=PROJECT/REPO&branch=B&number=N (ours): commits of a repo, newest first."""

    compatible = False

    async def get(self) -> None:
        repo = _repo(self.get_query_argument("repo", ""))
        branch = self.get_query_argument("branch", "")
        number = number_of(self.get_query_argument("number", ""), DEFAULT_COMMITS)
        self.answer(await self.look(lambda: self._commits(repo, branch, number)))

    def _commits(self, repo: RepoRef, branch: str, number: int) -> list[dict[str, object]]:
        self.require_login()
        client = self.services.cluster.client
        client.inspect_repo(repo)
        if branch:
            client.inspect_branch(repo, branch)
        return [answers.commit(info).model_dump() for info in client.list_commits(repo, number=number, to=branch)]


class ConfigHandler(Handler):
    """GET and PUT /config: which cluster, and whether it answers."""

    async def get(self) -> None:
        self.answer(await self.watch(self._config))

    async def put(self) -> None:
        request = decode_body(self.request.body, schema.ConfigRequest)
        self.answer(await self.upload(lambda: self._change(request)))

    def _config(self) -> schema.ConfigAnswer:
        cluster = self.services.cluster
        address = cluster.connection.address
        if not cluster.check_health():
            return schema.ConfigAnswer(cluster_status="INVALID", pachd_address=address)
        auth_off = cluster.identity().state is AuthState.OFF
        return schema.ConfigAnswer(
            cluster_status="AUTH_DISABLED" if auth_off else "AUTH_ENABLED", pachd_address=address
        )

    def _change(self, request: schema.ConfigRequest) -> schema.ConfigAnswer:
        cluster = self.services.cluster
        if request.embedded or request.context:
            cluster.use_context(request.context, partial(self._leave, request.staged))
        elif request.server_cas and not _is_secure(request.pachd_address):
            why = "must set pachd_address to grpcs://... if server_cas is set"
            raise UsageError(f"cannot connect to '{request.pachd_address}' with a certificate", why)
        elif cluster.leads_to(request.pachd_address, request.server_cas):
            if request.token:
                cluster.set_token(request.token)
        else:
            try:
                leave = partial(self._leave, request.staged)
                cluster.switch(request.pachd_address, request.server_cas, request.token, leave)
            except InvalidAddressError as error:
                what = "either empty or poorly formatted cluster endpoint"
                raise InvalidAddressError(what, error.why or error.what, error.hint) from error
        self.services.browser.views.close_unneeded()
        return self._config()

    def _leave(self, staged: schema.AtUnmount) -> None:
        """End all mounts; what is staged is never dropped without a word."""
        try:
            self.services.manager.unmount_all(staged)
        except PachmountError as error:
            error.what = f"still connected to {self.services.cluster.connection.address}: {error.what}"
            error.hint = f"{error.hint or 'pachmount status'}; or keep what is staged: pachmount login … --keep"
            raise


def _is_secure(address: str) -> bool:
    """Whether it is the address of a server with TLS; what is none is refused later."""
    try:
        return parse_address(address).secure
    except InvalidAddressError:
        return True


def _repo(text: str) -> RepoRef:
    source = parse_source(text)
    if source.branch or source.commit or source.path:
        raise UsageError(f"invalid repo '{text}'", "it is [project/]repo")
    return RepoRef(source.project, source.repo)
