"""Refusals: how the inside says which gRPC status and text a call ends with."""

from __future__ import annotations

import grpc

Code = grpc.StatusCode


class Refusal(Exception):  # noqa: N818 - the wish was understood and is refused; nothing broke
    """A call that ends with a status other than OK.

    `code` is the gRPC status code, `text` the message that goes with it.
    """

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text

    def __str__(self) -> str:
        return f"{self.code.name}: {self.text}"


def unknown(text: str) -> Refusal:
    """The status that pachd gives to every error without a status of its own."""
    return Refusal(Code.UNKNOWN, text)


def not_found(text: str) -> Refusal:
    return Refusal(Code.NOT_FOUND, text)


def invalid(text: str) -> Refusal:
    return Refusal(Code.INVALID_ARGUMENT, text)


def unimplemented(text: str) -> Refusal:
    return Refusal(Code.UNIMPLEMENTED, text)
