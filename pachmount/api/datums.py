"""The routes of datums, in both spellings of the original, 2.6 and 2.8, and ours."""

from __future__ import annotations

from pachmount.api import schema
from pachmount.api.handlers import Handler, number_of, whole_number
from pachmount.datums import rules
from pachmount.datums.forming import Forming
from pachmount.datums.model import Datum
from pachmount.datums.rules import Rules
from pachmount.datums.spec import parse, to_dict
from pachmount.errors import NoInputError, NotFoundError, PachmountError, UsageError
from pachmount.mounts.datum_mode import DatumMode, Shown
from pachmount.mounts.datum_source import DatumSource

DEFAULT_PAGE = 100
RESOLVE_SECONDS = 60.0


class DatumHandler(Handler):
    """The base: what the original answers 400 to, ours does."""

    @property
    def mode(self) -> DatumMode:
        return self.services.manager.datums

    def compatible_status(self, error: PachmountError) -> int:
        if isinstance(error, NoInputError) and not self.is_newer:
            return 500
        return 400 if isinstance(error, NotFoundError) else super().compatible_status(error)

    @property
    def is_newer(self) -> bool:
        """Whether the route is one of 2.8."""
        return self.route.startswith("/datums")


class DatumsHandler(DatumHandler):
    """GET /datums: which datum is shown."""

    async def get(self) -> None:
        await self.look(self.require_login)
        mode = self.mode
        source = mode.input
        if not mode.is_on or source is None:
            self.answer(schema.DatumsAnswer())
            return
        shown = mode.shown()
        self.answer(
            schema.DatumsAnswer(
                num_datums=shown.number,
                input=to_dict(source),
                curr_idx=shown.index,
                idx=shown.index,
                all_datums_received=shown.all_received,
            )
        )


class MountDatumsHandler(DatumHandler):
    """PUT /_mount_datums and /datums/_mount: show the first datum of an input in the place of all mounts."""

    async def put(self) -> None:
        await self.look(self.require_login)
        self.answer(await self.upload(lambda: self._mount(self.request.body)))

    def _mount(self, body: bytes) -> schema.DatumAnswer:
        cluster = self.services.cluster
        read_by = self._rules()
        source = parse(body, read_by, self.default_project)
        how = Forming(self.services.max_datums, directory=self.mode.directory)
        found = DatumSource(cluster.client, source, read_by, finish_timeout=RESOLVE_SECONDS, how=how)
        return _answer(self.mode.mount(source, found.search, wait_for_all=not self.is_newer))

    def _rules(self) -> Rules:
        if self.is_own_client:
            return rules.OURS
        return rules.V2_9 if self.is_newer else rules.V2_6


class ShowDatumHandler(DatumHandler):
    """PUT /_show_datum?idx=N or ?id=ID: show another datum."""

    async def put(self) -> None:
        await self.look(self.require_login)
        index, datum_id = self.get_query_argument("idx", ""), self.get_query_argument("id", "")
        self.answer(await self.work(lambda: self._show(index, datum_id)))

    def _show(self, index: str, datum_id: str) -> schema.DatumAnswer:
        _ = self.mode.datums
        if not (index or datum_id):
            raise UsageError("need to specify either datum idx or id")
        if datum_id:
            return _answer(self.mode.show(datum_id=datum_id))
        try:
            number = int(index)
        except ValueError as error:
            raise UsageError("used a non-integer for datum index", f"it is '{index}'") from error
        return _answer(self.mode.show(index=number))


class OtherDatumHandler(DatumHandler):
    """PUT /datums/_next and /datums/_prev: show the next or the previous datum."""

    async def put(self) -> None:
        await self.look(self.require_login)
        by = 1 if self.route.endswith("_next") else -1
        self.answer(await self.work(lambda: _answer(self.mode.step(by))))


class DatumPageHandler(DatumHandler):
    """GET /datums/_list?start=N&number=N (ours): the datums that are known so far, page by page."""

    compatible = False

    async def get(self) -> None:
        start = whole_number(self.get_query_argument("start", "") or "0", "start")
        number = number_of(self.get_query_argument("number", ""), DEFAULT_PAGE)
        self.answer(await self.poll(lambda: self._page(start, number)))

    def _page(self, start: int, number: int) -> schema.DatumPageAnswer:
        datums = self.mode.datums
        page = datums.page(start, number)
        following = page[-1][0] + 1 if page else start
        return schema.DatumPageAnswer(
            datums=[_entry(index, datum) for index, datum in page],
            next=following if following < len(datums) else None,
            num_datums=datums.total if datums.total is not None else len(datums),
            all_datums_received=datums.complete,
        )


class UnmountDatumsHandler(DatumHandler):
    """PUT /datums/_unmount (ours): back to what was mounted before."""

    compatible = False

    async def put(self) -> None:
        self.answer(await self.work(self._leave))

    def _leave(self) -> schema.DatumsAnswer:
        _ = self.mode.datums
        self.mode.leave(restore=True)
        return schema.DatumsAnswer()


def status(mode: DatumMode) -> schema.DatumStatus | None:
    """What `/status` tells of datum mode; None outside of it."""
    source = mode.input
    if not mode.is_on or source is None:
        return None
    try:
        shown, datums = mode.shown(), mode.datums
    except UsageError:
        return None  # it is just beginning or ending
    return schema.DatumStatus(
        id=shown.datum.id,
        idx=shown.index,
        num_datums=shown.number,
        received=len(datums),
        matched=datums.matched,
        all_datums_received=datums.complete,
        error=schema.ErrorAnswer(**datums.error.to_dict()) if datums.error is not None else None,
        input=to_dict(source),
        out=str(mode.out),
        files=_entry(shown.index, shown.datum).files,
    )


def _answer(shown: Shown) -> schema.DatumAnswer:
    return schema.DatumAnswer(
        id=shown.datum.id, idx=shown.index, num_datums=shown.number, all_datums_received=shown.all_received
    )


def _entry(index: int, datum: Datum) -> schema.DatumEntry:
    files = [
        schema.DatumFileAnswer(
            input=file.input,
            project=file.project,
            repo=file.repo,
            branch=file.branch,
            commit=file.commit,
            path=file.path,
            type="dir" if file.is_dir else "file",
            size_bytes=file.size_bytes,
            hash=file.hash,
        )
        for file in datum.files
    ]
    return schema.DatumEntry(idx=index, id=datum.id, files=files)
