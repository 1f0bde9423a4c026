"""Random calls for the differential check: what a person, a script and a careless client do with a PFS server.

A step is a method and its request as JSON, in which `$name` stands for what only the running server knows: the project
and the ids of commits and file sets. So one sequence can be run on any number of servers.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

REPOS = ("one", "two", "three")
_BRANCHES = ("master", "dev", "side")
_DIRECTORIES = ("", "/a", "/a/b", "/c", "/d.x")
_NAMES = ("f", "g1", "g2", "h.txt", "a", "Z")
_BAD_PATHS = ("", "/", "/ü", "//a", "/a/../b", "/x*", "/a\x01", "a/", "/./a", "/a//f")
_GLOBS = (
    "/*", "/", "/**", "/a/*", "/**/f", "/a/", "*", "/{a,c}/*", "/[a-c]/*", "/?", "/a/**", "/@(a|c)/f", "/!(a)",
    "/**.txt", "/+(a|b)", "/g[!1]", "/a*", "/[", "/{a", "/*/*", "/d.x/*", "/(a)/*", "/*(a)",
)  # fmt: skip
_ANCESTRY = ("",) * 12 + ("^", "^2", "~1", ".1", ".2")


@dataclass
class Step:
    """One call. `save` is the name under which the id in the answer is kept; `wait`: it may take effect later."""

    method: str
    request: Json | None = None
    requests: list[Json] | None = None
    save: str = ""
    service: str = "pfs_v2.API"


@dataclass
class _Commit:
    name: str
    repo: str
    open: bool


@dataclass
class Operations:
    """Makes steps one after the other; `learn` is told how each ended."""

    seed: int
    _commits: list[_Commit] = field(default_factory=list)
    _filesets: list[str] = field(default_factory=list)
    _waiting: list[Step] = field(default_factory=list)
    _number: int = 0
    _last: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        self._waiting.append(Step("CreateProject", {"project": {"name": "$project"}}))
        self._waiting += [Step("CreateRepo", {"repo": self._repo(name)}) for name in REPOS]
        for name in REPOS:
            head = {"repo": self._repo(name), "branch": self._branch(name, "master")}
            files = [{"add_file": {"path": f"{top}/f", "raw": {"text": top}}} for top in _DIRECTORIES]
            self._waiting.append(Step("ModifyFile", requests=[{"set_commit": head}, *files]))
            self._waiting.append(Step("InspectCommit", {"commit": head, "wait": "FINISHED"}))

    def next(self) -> Step:
        if self._waiting:
            return self._waiting.pop(0)
        weights = {
            self._modify: 22, self._start: 5, self._finish: 6, self._clear: 1, self._drop: 1, self._squash: 1,
            self._create_repo: 1, self._delete_repo: 1, self._create_branch: 3, self._delete_branch: 1,
            self._list_file: 6, self._walk_file: 4, self._glob: 8, self._inspect_file: 5, self._get: 6, self._tar: 3,
            self._diff: 4, self._look: 6, self._list_commit: 3, self._datums: 5, self._fileset: 3,
        }  # fmt: skip
        return self._chance.choices(list(weights), list(weights.values()))[0]()

    def learn(self, ok: bool) -> None:
        """Whether the last step ended well (on both servers alike)."""
        if ok and self._last is not None:
            self._last()
        self._last = None

    def _repo(self, name: str) -> Json:
        return {"name": name, "type": "user", "project": {"name": "$project"}}

    def _branch(self, repo: str, name: str) -> Json:
        return {"name": name, "repo": self._repo(repo)}

    def _some_repo(self) -> str:
        return "missing" if self._chance.random() < 0.02 else self._chance.choice(REPOS)

    def _some_branch(self) -> str:
        return self._chance.choices((*_BRANCHES, "nobranch", "bad name"), (60, 15, 5, 2, 1))[0]

    def _name(self, kind: str) -> str:
        self._number += 1
        return f"{kind}{self._number}"

    def _commit(self) -> Json:
        """A handle: by id, by branch, by branch name in the place of the id, each perhaps with ancestry."""
        dice = self._chance.random()
        ancestry = self._chance.choice(_ANCESTRY)
        if dice < 0.5 and self._commits:
            found = self._chance.choice(self._commits[-12:])
            return {"repo": self._repo(found.repo), "id": f"${{{found.name}}}{ancestry}"}
        repo, branch = self._some_repo(), self._some_branch()
        if dice < 0.75:
            return {"repo": self._repo(repo), "branch": self._branch(repo, branch)}
        return {"repo": self._repo(repo), "id": branch + ancestry}

    def _path(self) -> str:
        if self._chance.random() < 0.015:
            return self._chance.choice(_BAD_PATHS)
        return f"{self._chance.choice(_DIRECTORIES)}/{self._chance.choice(_NAMES)}"

    def _any_path(self) -> str:
        return self._chance.choice((self._path(), *_DIRECTORIES, "/", "/a/", "a", "/nothing"))

    def _file(self) -> Json:
        return {"commit": self._commit(), "path": self._any_path()}

    def _body(self) -> Json:
        dice = self._chance.random()
        if dice < 0.6:
            size = self._chance.choice((0, 1, 50, 3000, 100_000, 100_000, 1_500_000 if dice < 0.02 else 10))
            body: Json = {"path": self._path(), "raw": {"fill": f"s{self._chance.randrange(9)}", "size": size}}
            if self._chance.random() < 0.15:
                body["datum"] = self._chance.choice(("d1", "d2", "default"))
            return {"add_file": body}
        if dice < 0.85:
            path = self._path()
            return {"delete_file": {"path": path + "/" if self._chance.random() < 0.25 else path}}
        source = self._file()
        if self._chance.random() < 0.85:  # one that is there, most likely
            repo = self._chance.choice(REPOS)
            source["commit"] = {"repo": self._repo(repo), "branch": self._branch(repo, "master")}
        copy = {"dst": self._path(), "src": source, "append": self._chance.random() < 0.3}
        return {"copy_file": copy}

    def _bodies(self) -> list[Json]:
        made = [self._body() for _ in range(self._chance.choice((1, 1, 2, 4, 10, 30)))]
        if self._chance.random() < 1 / 3:
            made += self._collision()
        return made

    def _collision(self) -> list[Json]:
        """A file where a directory is, a directory where a file is, both at once, or one path of two datums."""
        top, name = self._chance.choice(_DIRECTORIES), self._chance.choice(_NAMES)
        over = {"path": self._chance.choice(("/a", "/c", "/a/b", "/d.x")), "raw": {"text": "over"}}
        below = {"path": f"{top}/f/{name}", "raw": {"text": "below"}}
        tagged = {"path": f"{top}/{name}", "raw": {"text": "tagged"}, "datum": "other"}
        plain = {"path": f"{top}/{name}", "raw": {"text": "plain"}}
        kinds = ([over], [below], [over, below], [tagged, plain])
        return [{"add_file": one} for one in self._chance.choice(kinds)]

    def trees(self, *, every: bool) -> list[Step]:
        """Calls that show names, sizes, hashes and bytes of all files of the newest commits, or of every one known."""
        steps = []
        for one in self._commits if every else self._commits[-3:]:
            file = {"commit": {"repo": self._repo(one.repo), "id": f"${{{one.name}}}"}, "path": "/"}
            steps += [Step("WalkFile", {"file": file}), Step("GetFileTAR", {"file": file})]
        return steps

    def _modify(self) -> Step:
        commit = self._commit()
        opened = [one for one in self._commits if one.open]
        if opened and self._chance.random() < 0.4:
            found = self._chance.choice(opened)
            commit = {"repo": self._repo(found.repo), "id": f"${found.name}"}
        elif "branch" in commit:

            def made() -> None:  # it may have made a commit; learn its id, and let it finish
                name = self._name("commit")
                inspect: Json = {"commit": commit, "wait": "FINISHED"} if not opened else {"commit": commit}
                self._commits.append(_Commit(name, commit["repo"]["name"], open=False))
                self._waiting.append(Step("InspectCommit", inspect, save=name))

            self._last = made
        return Step("ModifyFile", requests=[{"set_commit": commit}, *self._bodies()])

    def _start(self) -> Step:
        repo, branch = self._some_repo(), self._some_branch()
        request: Json = {"branch": self._branch(repo, branch)}
        if self._chance.random() < 0.3:
            request["parent"] = self._commit()
        name = self._name("commit")
        self._last = lambda: self._commits.append(_Commit(name, repo, open=True))
        return Step("StartCommit", request, save=name)

    def _finish(self) -> Step:
        opened = [one for one in self._commits if one.open]
        if not opened or self._chance.random() < 0.1:
            return Step("InspectCommit", {"commit": self._commit()})
        found = self._chance.choice(opened)
        commit = {"repo": self._repo(found.repo), "id": f"${found.name}"}

        def done() -> None:
            found.open = False
            self._waiting.append(Step("InspectCommit", {"commit": commit, "wait": "FINISHED"}))

        self._last = done
        request: Json = {"commit": commit, "description": self._chance.choice(("", "why"))}
        if self._chance.random() < 0.15:
            request["error"] = "broken on purpose"
        return Step("FinishCommit", request)

    def _clear(self) -> Step:
        return Step("ClearCommit", {"commit": self._commit()})

    def _drop(self) -> Step:
        return Step("DropCommit", {"commit": self._commit()})

    def _squash(self) -> Step:
        return Step("SquashCommit", {"commit": self._commit()})

    def _create_repo(self) -> Step:
        request: Json = {"repo": self._repo(self._chance.choice((*REPOS, "bad name"))), "description": "again"}
        request["update"] = self._chance.random() < 0.5
        return Step("CreateRepo", request)

    def _delete_repo(self) -> Step:
        name = "three" if self._chance.random() < 0.8 else "missing"
        self._last = lambda: self._forget(name)
        return Step("DeleteRepo", {"repo": self._repo(name)})

    def _forget(self, repo: str) -> None:
        for one in self._commits:
            one.open = one.open and one.repo != repo
        self._commits = [one for one in self._commits if one.repo != repo or self._chance.random() < 0.1]
        self._waiting.append(Step("CreateRepo", {"repo": self._repo(repo)}))

    def _create_branch(self) -> Step:
        repo = self._some_repo()
        request: Json = {"branch": self._branch(repo, self._some_branch())}
        if self._chance.random() < 0.8:
            request["head"] = self._commit()
        return Step("CreateBranch", request)

    def _delete_branch(self) -> Step:
        return Step("DeleteBranch", {"branch": self._branch(self._some_repo(), self._some_branch())})

    def _paged(self) -> Json:
        request: Json = {"file": self._file()}
        if self._chance.random() < 0.4:
            request["number"] = self._chance.choice((1, 2, 5))
            request["reverse"] = self._chance.random() < 0.4
            if self._chance.random() < 0.5:
                request["paginationMarker"] = {"commit": request["file"]["commit"], "path": self._path() or "/a"}
        return request

    def _list_file(self) -> Step:
        return Step("ListFile", self._paged())

    def _walk_file(self) -> Step:
        return Step("WalkFile", self._paged())

    def _glob(self) -> Step:
        return Step("GlobFile", {"commit": self._commit(), "pattern": self._chance.choice(_GLOBS)})

    def _inspect_file(self) -> Step:
        return Step("InspectFile", {"file": self._file()})

    def _get(self) -> Step:
        file = {"commit": self._commit(), "path": self._path()}
        return Step("GetFile", {"file": file, "offset": self._chance.choice((0, 0, 0, 1, 40, 99_999, 10_000_000))})

    def _tar(self) -> Step:
        path = self._chance.choice((*_GLOBS, "/a", "/c", "/"))
        return Step("GetFileTAR", {"file": {"commit": self._commit(), "path": path}})

    def _diff(self) -> Step:
        request: Json = {"new_file": {"commit": self._commit(), "path": self._chance.choice(("/", "/a", "/c"))}}
        if self._chance.random() < 0.5:
            request["old_file"] = {"commit": self._commit(), "path": self._chance.choice(("/", "/a"))}
        return Step("DiffFile", request)

    def _look(self) -> Step:
        repo = self._some_repo()
        return self._chance.choice(
            (
                Step("InspectRepo", {"repo": self._repo(repo)}),
                Step("InspectBranch", {"branch": self._branch(repo, self._some_branch())}),
                Step("ListBranch", {"repo": self._repo(repo), "reverse": self._chance.random() < 0.5}),
                Step("ListRepo", {"type": "user", "projects": [{"name": "$project"}]}),
                Step("InspectCommit", {"commit": self._commit()}),
            )
        )

    def _list_commit(self) -> Step:
        request: Json = {"repo": self._repo(self._some_repo())}
        if self._chance.random() < 0.4:
            request["number"] = self._chance.choice((1, 3))
        if self._chance.random() < 0.4:
            request["to"] = self._commit()
        elif self._chance.random() < 0.4:
            request["reverse"] = True
        return Step("ListCommit", request)

    def _input(self) -> Json:
        glob = self._chance.choice(("/*", "/(*)", "/a/*", "/*/(*)", "/", "/**", "/[", "/*/(*)*"))
        made: Json = {"project": "$project", "repo": self._chance.choice(REPOS), "branch": "master", "glob": glob}
        return {"pfs": made}

    def _datums(self) -> Step:
        kind = self._chance.choice(("pfs", "cross", "union", "join", "group"))
        inputs = [self._input(), self._input()]
        for number, one in enumerate(inputs):
            one["pfs"]["name"] = f"in{number}"
            if kind == "join":
                one["pfs"] |= {"join_on": "$$1", "outer_join": self._chance.random() < 0.4}
            if kind == "group":
                one["pfs"]["group_by"] = "$$1"
        return Step("ListDatum", {"input": inputs[0] if kind == "pfs" else {kind: inputs}}, service="pps_v2.API")

    def _fileset(self) -> Step:
        dice = self._chance.random()
        name = self._name("fileset")
        if dice < 0.5 or not self._filesets:
            self._last = lambda: self._filesets.append(name)
            if dice < 0.2:
                kind = self._chance.choice(("TOTAL", "DIFF"))
                return Step("GetFileSet", {"commit": self._commit(), "type": kind}, save=name)
            return Step("CreateFileSet", requests=self._bodies(), save=name)
        known = f"${self._chance.choice(self._filesets)}"
        if dice < 0.6:
            return Step("RenewFileSet", {"file_set_id": known, "ttl_seconds": self._chance.choice((0, 60, 10_000))})
        return Step("AddFileSet", {"commit": self._commit(), "file_set_id": known})
