"""Calls about pipelines: the datums of an input. Everything that would run a pipeline is refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from pachmount.datums.forming import FormedDatum, FormedDatums, Forming, form_datums
from pachmount.datums.glob import BadPatternError, compile_glob
from pachmount.datums.keys import NotWantedError
from pachmount.datums.model import DEFAULT_REPO_TYPE, Combination, Cross, Group, Input, Join, PfsInput, Union
from pachmount.datums.rows import Match
from pachmount.errors import TooManyDatumsError
from pachmount.localpfs import handles, listing, messages, paths, rpc
from pachmount.localpfs.access import Access
from pachmount.localpfs.broken import Scope
from pachmount.localpfs.handles import FileView
from pachmount.localpfs.rpc import Context
from pachmount.localpfs.status import Code, Refusal, not_found, unimplemented, unknown
from pachmount.localpfs.store import Store
from pachmount.names import DEFAULT_BRANCH
from pachmount.pfs.proto import auth_pb2, pfs_pb2, pps_pb2

_COMBINATIONS: dict[str, type[Combination]] = {"cross": Cross, "union": Union, "join": Join, "group": Group}
_PIPELINE_METHODS = (
    "CreatePipeline",
    "CreatePipelineV2",
    "DeletePipeline",
    "InspectJob",
    "InspectPipeline",
    "ListJob",
    "ListPipeline",
    "StartPipeline",
    "StopPipeline",
)
_NO_PIPELINES = unimplemented("the embedded server keeps files and lists datums; it never runs pipelines or jobs")

_Formed = FormedDatums[pfs_pb2.FileInfo]


class DatumService:
    """Datums over one store."""

    def __init__(self, store: Store, access: Access) -> None:
        self._store = store
        self._access = access

    def methods(self) -> dict[str, rpc.Handler]:
        return {
            "ListDatum": rpc.stream(self._list, pps_pb2.ListDatumRequest),
            "CreateDatum": rpc.both_stream(self._create, pps_pb2.CreateDatumRequest),
        } | {name: rpc.refuse(_NO_PIPELINES) for name in _PIPELINE_METHODS}

    def _list(self, request: pps_pb2.ListDatumRequest, context: Context) -> Iterator[pps_pb2.DatumInfo]:
        if request.reverse and request.number <= 0:
            raise unknown("number must be > 0 when reverse is set")
        if not request.HasField("input"):
            if request.HasField("job"):
                raise not_found(f"jobs {request.job.pipeline.name}@{request.job.id} not found")
            raise unknown("must specify a job")
        found = self._datums(context, request.input)
        if request.filter.state and pps_pb2.UNKNOWN not in request.filter.state:
            return iter(())  # no datum of an input that no job has run on has another state
        marker = request.paginationMarker
        if request.reverse:
            positions = range((found.position(marker) if marker else len(found)) - 1, -1, -1)
        else:
            positions = range(found.position(marker, after=True) if marker else 0, len(found))
        chosen = positions[: request.number] if request.number > 0 else positions
        return (_info(found[position]) for position in chosen)

    def _create(self, requests: Iterator[pps_pb2.CreateDatumRequest], context: Context) -> Iterator[pps_pb2.DatumInfo]:
        first = next(requests, None)
        if first is None or first.WhichOneof("body") != "start":
            raise unknown("first message must be a StartCreateDatumRequest message")
        rest = iter(self._datums(context, first.start.input))
        number = first.start.number
        while True:
            sent = 0
            for sent, datum in enumerate(rest, 1):
                yield _info(datum)
                if sent == number:
                    break
            if not number or sent < number:
                return
            request = next(requests, None)
            if request is None:
                return
            number = getattr(request, "continue").number

    def _datums(self, context: Context, source: pps_pb2.Input) -> _Formed:
        try:
            how = Forming(wanted=context.is_active, directory=self._store.root)
            return form_datums(_input(source), partial(self._matches, context), how)
        except TooManyDatumsError as error:
            raise Refusal(Code.RESOURCE_EXHAUSTED, f"{error.what}: {error.why}") from error
        except NotWantedError as error:
            raise Refusal(Code.CANCELLED, "the client has gone") from error
        except Refusal as refusal:
            raise unknown(refusal.text) from refusal  # pachd loses the status on the way through its task queue

    def _matches(self, context: Context, source: PfsInput) -> Iterable[Match[pfs_pb2.FileInfo]]:
        view = self._head(context, source)
        try:
            glob = compile_glob(source.glob)
        except BadPatternError as error:
            raise unknown(str(error)) from error
        make = messages.file_info_maker(view)
        for key, entry in listing.matches(self._store.pages, view.root, glob, source.glob, Scope(), view.problems):
            path = key.decode() if entry.is_dir else paths.split_key(key)[0].decode()
            plain = path[:-1] if entry.is_dir and path != "/" else path
            yield Match(
                path,
                pfs_pb2.FileInfo.FromString(make(key, entry)),
                glob.replace(plain, source.join_on),
                glob.replace(plain, source.group_by),
            )

    def _head(self, context: Context, source: PfsInput) -> FileView:
        repo = pfs_pb2.Repo(name=source.repo, type=source.repo_type, project=pfs_pb2.Project(name=source.project))
        commit = pfs_pb2.Commit(repo=repo, branch=pfs_pb2.Branch(name=source.branch, repo=repo))
        for needed in ((auth_pb2.REPO_INSPECT_COMMIT,), (auth_pb2.REPO_READ, auth_pb2.REPO_LIST_FILE)):
            self._access.require_in(context, commit, *needed)
        with self._store.database.read() as db:
            view = handles.view(db, commit)
        self._access.require_of(context, view.revision, auth_pb2.REPO_READ)
        return view


def _input(source: pps_pb2.Input) -> Input:
    if source.HasField("pfs"):
        pfs = source.pfs
        return PfsInput(
            name=pfs.name,
            project=pfs.project,
            repo=pfs.repo,
            branch=pfs.branch or DEFAULT_BRANCH,
            glob=pfs.glob or "/",
            repo_type=pfs.repo_type or DEFAULT_REPO_TYPE,
            join_on=pfs.join_on,
            outer_join=pfs.outer_join,
            group_by=pfs.group_by,
        )
    for kind, combination in _COMBINATIONS.items():
        members = getattr(source, kind)
        if members:
            return combination(tuple(_input(member) for member in members))
    if source.HasField("cron"):
        raise unknown("can't list datums with a cron input, there will be no datums until the pipeline is created")
    raise unknown("unrecognized input type: " + str(source))


def _info(datum: FormedDatum[pfs_pb2.FileInfo]) -> pps_pb2.DatumInfo:
    return pps_pb2.DatumInfo(
        datum=pps_pb2.Datum(id=datum.id),
        stats=pps_pb2.ProcessStats(),
        data=[part.match.file for part in datum.parts],
    )
