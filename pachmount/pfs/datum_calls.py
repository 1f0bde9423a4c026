"""The cluster's calls about datums. Its answers do not tell which input a file is for, and ignore `commit`."""

from __future__ import annotations

import itertools
import queue
from collections.abc import Iterable, Iterator, Sequence

from google.protobuf.message import DecodeError

from pachmount.datums.model import Combination, Cross, Group, Input, Join, PfsInput, Union
from pachmount.errors import DataError
from pachmount.pfs import convert
from pachmount.pfs.model import ListedDatum
from pachmount.pfs.proto import pps_pb2
from pachmount.pfs.rpc import Rpc

_PPS = "/pps_v2.API/"
_FIELDS: dict[type[Combination], str] = {Cross: "cross", Union: "union", Join: "join", Group: "group"}


class DatumCalls:
    """Over one connection; thread-safe. `wait` is the longest wait for an answer in seconds.

    Every call raises a PachmountError; `status.is_call_missing` tells whether it is because the server is too old.
    """

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc

    def list(
        self, source: Input, *, after: str = "", number: int = 0, wait: float = 600.0
    ) -> Iterator[list[ListedDatum]]:
        """The datums of an input in the order of their ids, in batches as they arrive, none of them empty.

        `after` is an id, `number` the most datums to give (0: all). The server forms all before it answers.
        """
        request = pps_pb2.ListDatumRequest(input=input_message(source), paginationMarker=after, number=number)
        return self._rpc.listing(_PPS + "ListDatum", request, _decoded, idle_timeout=wait)

    def create(self, source: Input, batch: int, *, wait: float = 600.0) -> Iterator[Sequence[ListedDatum]]:
        """The datums in batches of that size as the cluster finds them: sooner than `list`, in an order of its own.

        The next batch is asked for when the one before has been taken. Servers before 2.9 do not offer it.
        """
        requests: queue.SimpleQueue[pps_pb2.CreateDatumRequest | None] = queue.SimpleQueue()
        start = pps_pb2.StartCreateDatumRequest(input=input_message(source), number=batch)
        requests.put(pps_pb2.CreateDatumRequest(start=start))
        stream = self._rpc.both_stream(_PPS + "CreateDatum", iter(requests.get, None), bytes, idle_timeout=wait)
        more = pps_pb2.CreateDatumRequest()
        getattr(more, "continue").number = batch
        try:
            while found := _decoded(itertools.islice(stream, batch)):
                yield found
                if len(found) < batch:
                    return
                requests.put(more)
        finally:
            requests.put(None)
            stream.cancel()


def input_message(source: Input) -> pps_pb2.Input:
    """An input for the wire; what only matters to workers is left out."""
    if not isinstance(source, PfsInput):
        members = [input_message(member) for member in source.inputs]
        message = pps_pb2.Input()
        getattr(message, _FIELDS[type(source)]).extend(members)
        return message
    return pps_pb2.Input(
        pfs=pps_pb2.PFSInput(
            name=source.name,
            project=source.project,
            repo=source.repo,
            repo_type=source.repo_type,
            branch=source.branch,
            glob=source.glob,
            join_on=source.join_on,
            outer_join=source.outer_join,
            group_by=source.group_by,
        )
    )


def _decoded(messages: Iterable[bytes]) -> list[ListedDatum]:
    try:
        return [_listed(pps_pb2.DatumInfo.FromString(data)) for data in messages]
    except DecodeError as error:
        raise DataError("the cluster sent a damaged list of datums", str(error)) from error


def _listed(info: pps_pb2.DatumInfo) -> ListedDatum:
    files = ((convert.commit_ref(file.file.commit), convert.file_entry(file)) for file in info.data)
    return ListedDatum(info.datum.id, tuple(files))
