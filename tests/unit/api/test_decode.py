"""Request bodies are decoded as leniently as the original did, and what it refused is refused in its words."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachmount.api.decode import decode_body
from pachmount.api.schema import CommitRequest, ConfigRequest, MountEntry, MountRequest, UnmountRequest
from pachmount.errors import UsageError


@pytest.mark.parametrize(
    "body",
    [
        b"null",
        b"{}",
        b'{"mounts":null}',
        b'{"mounts":[]}',
        b' \r\n\t{"mounts":[]}\n',
        b'{"mounts":[]} trailing',
        b'{"mounts":[]}{"mounts":[{}]}',
        b'{"MOUNTS":[],"other":{"deep":[1]}}',
    ],
)
def test_empty_requests(body: bytes) -> None:
    assert decode_body(body, MountRequest) == MountRequest()


def test_keys_count_without_regard_to_case_at_every_depth() -> None:
    body = b'{"Mounts":[{"NAME":"n","Repo":"r","BRANCH":null,"unknown":1,"Files":["/a"],"MODE":"ro"}]}'
    entry = MountEntry(name="n", repo="r", files=["/a"], mode="ro")
    assert decode_body(body, MountRequest) == MountRequest(mounts=[entry])


def test_a_null_entry_is_seen() -> None:
    assert decode_body(b'{"mounts":[null]}', MountRequest).mounts == [None]


@pytest.mark.parametrize("body", [b"", b" ", b"\n\n"])
def test_nothing_at_all_is_the_end_of_the_file(body: bytes) -> None:
    with pytest.raises(UsageError) as caught:
        decode_body(body, MountRequest)
    assert caught.value.what == "EOF"


@pytest.mark.parametrize("body", [b"{", b'{"mounts"', b'{"mounts":[', b'{"mo', b"[1,", b'{"mounts":[{"name":"x'])
def test_what_breaks_off_is_an_unexpected_end(body: bytes) -> None:
    with pytest.raises(UsageError) as caught:
        decode_body(body, MountRequest)
    assert caught.value.what == "unexpected EOF"


@pytest.mark.parametrize("body", [b"x", b"{]", b"{'a':1}", b'{"a":1,}', b"\xff\xfe", b"{\x00}", b"nul"])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(UsageError, match=r"invalid character|unexpected EOF"):
        decode_body(body, MountRequest)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{"mounts":"x"}', "json: cannot unmarshal string into Go struct field MountRequest.mounts"),
        (b'{"mounts":5}', "json: cannot unmarshal number into Go struct field MountRequest.mounts"),
        (b'{"mounts":{}}', "json: cannot unmarshal object into Go struct field MountRequest.mounts"),
        (b'{"mounts":[{"name":5}]}', "json: cannot unmarshal number into Go struct field MountRequest.mounts.name"),
        (b'{"mounts":[{"files":"x"}]}', "json: cannot unmarshal string into Go struct field MountRequest.mounts.files"),
        (b"[]", "json: cannot unmarshal array into Go struct field MountRequest"),
        (b'"x"', "json: cannot unmarshal string into Go struct field MountRequest"),
        (b"5", "json: cannot unmarshal number into Go struct field MountRequest"),
        (b"true", "json: cannot unmarshal bool into Go struct field MountRequest"),
    ],
)
def test_wrong_types_are_named(body: bytes, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        decode_body(body, MountRequest)
    assert caught.value.what == says
    assert caught.value.http_status == 400


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"[" * 100_000, "json: exceeded max depth"),
        (b'{"mounts":' + b"9" * 10_000 + b"}", "json: cannot unmarshal number"),
    ],
)
def test_what_python_cannot_hold_is_the_fault_of_the_request(body: bytes, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        decode_body(body, MountRequest)
    assert caught.value.what == says


def test_half_a_character_becomes_the_replacement_character() -> None:
    body = rb'{"mounts":["\ud800", "\ud83d\ude00 \uDE00", "\\ud800"]}'
    assert decode_body(body, UnmountRequest).mounts == ["\ufffd", "\U0001f600 \ufffd", r"\ud800"]


def test_other_requests() -> None:
    assert decode_body(b'{"mount":"m"}', CommitRequest).mount == "m"
    assert decode_body(b'{"mounts":["a","b"]}', UnmountRequest).mounts == ["a", "b"]
    assert decode_body(b'{"Pachd_Address":"grpc://h"}', ConfigRequest).pachd_address == "grpc://h"


LEAVES = st.none() | st.booleans() | st.integers() | st.text()
KEYS = st.sampled_from(["mounts", "MOUNTS", "name", "x"])
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3))


@given(JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=40))
def test_anything_is_decoded_or_refused(body: bytes) -> None:
    with contextlib.suppress(UsageError):
        decode_body(body, MountRequest)
