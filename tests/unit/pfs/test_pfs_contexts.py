"""pachctl's config file: what is active, and that writing it loses nothing."""

from __future__ import annotations

import base64
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pachmount.errors import ConfigurationError, NotFoundError
from pachmount.pfs.contexts import AddressOrigin, ContextFile, config_path

CERTIFICATE = base64.b64encode(b"-----BEGIN CERTIFICATE-----").decode()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".pachyderm" / "config.json"


def write(path: Path, document: Any) -> ContextFile:
    path.parent.mkdir(exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return ContextFile(path, {})


def with_context(**context: Any) -> dict[str, Any]:
    return {"user_id": "u", "v2": {"active_context": "one", "contexts": {"one": context}}}


class TestPlaces:
    def test_pach_config_wins(self) -> None:
        assert config_path({"PACH_CONFIG": "/x/y.json", "HOME": "/home/ann"}) == Path("/x/y.json")

    def test_home(self) -> None:
        assert config_path({"HOME": "/home/ann"}) == Path("/home/ann/.pachyderm/config.json")

    def test_pod(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        pod = tmp_path / "config.json"
        monkeypatch.setattr("pachmount.pfs.contexts._POD_PATH", pod)
        assert config_path({"HOME": "/home/ann"}) == Path("/home/ann/.pachyderm/config.json")
        pod.touch()
        assert config_path({"HOME": "/home/ann"}) == pod

    def test_parent_of_pach_config_must_exist(self, tmp_path: Path) -> None:
        file = ContextFile(environ={"PACH_CONFIG": str(tmp_path / "no" / "config.json")})
        with pytest.raises(ConfigurationError, match="could not stat parent directory"):
            file.write_context("one", "localhost")

    def test_home_directory_is_made(self, tmp_path: Path) -> None:
        ContextFile(environ={"HOME": str(tmp_path)}).write_context("one", "localhost")
        assert (tmp_path / ".pachyderm" / "config.json").exists()


class TestReading:
    @pytest.mark.parametrize("text", [None, "", "  \n", "{}", '{"v2": {}}', '{"v2": {"contexts": null}}'])
    def test_nothing_configured(self, path: Path, text: str | None) -> None:
        file = ContextFile(path, {}) if text is None else write(path, text)
        assert (file.active().address, file.active().name, file.names()) == ("", "", [])

    def test_active(self, path: Path) -> None:
        document = with_context(pachd_address="grpcs://h", server_cas=CERTIFICATE, session_token="t", project="p")
        context = write(path, document).active()
        assert (context.name, context.address, context.project) == ("one", "grpcs://h:30650", "p")
        assert (context.server_cas, context.session_token, context.origin) == (CERTIFICATE, "t", AddressOrigin.CONTEXT)
        assert "'t'" not in repr(context)

    def test_context_without_address(self, path: Path) -> None:
        context = write(path, with_context()).active()
        assert (context.name, context.address, context.project) == ("one", "", "default")
        assert context.origin is AddressOrigin.NONE

    def test_port_forwarder(self, path: Path) -> None:
        context = write(path, with_context(port_forwarders={"pachd": 30650})).active()
        assert (context.address, context.origin) == ("grpc://localhost:30650", AddressOrigin.PORT_FORWARDER)

    def test_pach_context(self, path: Path) -> None:
        document = with_context(pachd_address="a")
        document["v2"]["contexts"]["two"] = {"pachd_address": "b"}
        write(path, document)
        assert ContextFile(path, {"PACH_CONTEXT": "two"}).active().address == "grpc://b:30650"
        with pytest.raises(ConfigurationError, match="three"):
            ContextFile(path, {"PACH_CONTEXT": "three"}).active()

    def test_pachd_address(self, path: Path, tmp_path: Path) -> None:
        write(path, with_context(pachd_address="grpcs://a", server_cas=CERTIFICATE, session_token="t"))
        bundle = tmp_path / "ca.pem"
        bundle.write_text("PEM")
        context = ContextFile(path, {"PACHD_ADDRESS": "b:1"}).active()
        assert (context.address, context.server_cas, context.session_token) == ("grpc://b:1", "", "t")
        assert context.origin is AddressOrigin.ENVIRONMENT
        both = ContextFile(path, {"PACHD_ADDRESS": "grpcs://b:1", "PACH_CA_CERTS": str(bundle)}).active()
        assert base64.b64decode(both.server_cas) == b"PEM"
        directory = ContextFile(path, {"PACHD_ADDRESS": "grpcs://b:1", "PACH_CA_CERTS": str(tmp_path)}).active()
        assert b"PEM" in base64.b64decode(directory.server_cas)
        with pytest.raises(ConfigurationError, match="PACHD_ADDRESS"):
            ContextFile(path, {"PACHD_ADDRESS": "ftp://b"}).active()
        with pytest.raises(ConfigurationError, match="PACH_CA_CERTS"):
            ContextFile(path, {"PACHD_ADDRESS": "grpcs://b", "PACH_CA_CERTS": "/nonexistent.pem"}).active()

    def test_pachd_address_without_a_file(self, path: Path) -> None:
        assert ContextFile(path, {"PACHD_ADDRESS": "b"}).active().address == "grpc://b:30650"

    def test_v1(self, path: Path) -> None:
        context = write(path, {"v1": {"pachd_address": "old:1", "session_token": "t"}}).active()
        assert (context.name, context.address, context.session_token) == ("default", "grpc://old:1", "t")

    def test_certificate_without_tls(self, path: Path) -> None:
        with pytest.raises(ConfigurationError, match="must set pachd_address to grpcs"):
            write(path, with_context(pachd_address="grpc://h", server_cas=CERTIFICATE)).active()

    @pytest.mark.parametrize(
        "document",
        [
            "{",
            "[1]",
            '"text"',
            {"v2": []},
            {"v2": {"contexts": []}},
            {"v2": {"contexts": {"one": 1}}},
            {"v2": {"active_context": 1, "contexts": {}}},
            with_context(pachd_address=1),
            with_context(pachd_address="ftp://x"),
            with_context(session_token=["t"]),
            with_context(port_forwarders=[1]),
            {"v2": {"active_context": "gone", "contexts": {}}},
        ],
    )
    def test_unusable(self, path: Path, document: Any) -> None:
        file = write(path, document)
        with pytest.raises(ConfigurationError, match=r"config\.json"):
            file.active()

    @pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[]", b'{"v2": {"contexts": 1}}'])
    def test_a_corrupt_file_is_never_overwritten(self, path: Path, content: bytes) -> None:
        path.parent.mkdir()
        path.write_bytes(content)
        file = ContextFile(path, {})
        with pytest.raises(ConfigurationError, match=r"config\.json"):
            ContextFile.load(path, {})
        with pytest.raises(ConfigurationError):
            file.write_context("one", "localhost")
        assert path.read_bytes() == content
        assert {found.name for found in path.parent.iterdir()} == {"config.json", "config.json.lock"}


class TestWriting:
    def test_new_file(self, path: Path) -> None:
        file = ContextFile(path, {})
        written = file.write_context("mount-server", "grpcs://h:443", CERTIFICATE)
        assert written == file.active()
        document = json.loads(path.read_text())
        assert len(document.pop("user_id")) == 32
        expected = {"source": 2, "pachd_address": "grpcs://h:443", "server_cas": CERTIFICATE}
        assert document == {
            "v2": {"active_context": "mount-server", "contexts": {"mount-server": expected}, "metrics": True}
        }
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_unknown_keys_and_order_are_kept(self, path: Path) -> None:
        document = {
            "zeta": [1],
            "user_id": "me",
            "v2": {
                "new": {"a": None},
                "active_context": "one",
                "contexts": {"one": {"odd": 1, "pachd_address": "a", "session_token": "t"}, "two": {"x": "y"}},
                "metrics": False,
            },
            "alpha": "é",
        }
        file = write(path, document)
        path.chmod(0o644)
        file.write_context("one", "b")
        after = json.loads(path.read_text())
        assert list(after) == list(document)
        assert list(after["v2"]) == list(document["v2"])
        assert after["v2"]["contexts"] == {
            "one": {"odd": 1, "pachd_address": "grpc://b:30650", "source": 2},
            "two": {"x": "y"},
        }
        assert after["v2"]["new"] == {"a": None}
        assert (after["zeta"], after["alpha"], after["v2"]["metrics"]) == ([1], "é", False)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_local(self, path: Path) -> None:
        file = write(path, with_context(pachd_address="a"))
        file.write_context("local", "")
        assert (file.active().name, file.active().address) == ("local", "")
        file.use("one")
        assert file.active().address == "grpc://a:30650"

    def test_tokens(self, path: Path) -> None:
        file = write(path, with_context(pachd_address="a"))
        file.set_token("one", "secret")
        assert file.active().session_token == "secret"
        file.set_token("one", "")
        assert file.active().session_token == ""
        assert "session_token" not in path.read_text()
        with pytest.raises(NotFoundError):
            file.set_token("two", "secret")
        with pytest.raises(NotFoundError):
            file.use("two")

    def test_v1_becomes_a_context(self, path: Path) -> None:
        file = write(path, {"v1": {"pachd_address": "old:1"}})
        file.set_token("default", "t")
        document = json.loads(path.read_text())
        assert document["v1"] == {"pachd_address": "old:1"}
        assert document["v2"]["contexts"]["default"]["session_token"] == "t"

    def test_certificate_without_tls(self, path: Path) -> None:
        with pytest.raises(ConfigurationError, match="server_cas"):
            ContextFile(path, {}).write_context("one", "grpc://h", CERTIFICATE)
        assert not path.exists()

    def test_a_link_to_the_file_stays_a_link(self, path: Path, tmp_path: Path) -> None:
        write(path, with_context())
        link = tmp_path / "link.json"
        link.symlink_to(path)
        ContextFile(link, {}).write_context("one", "b")
        assert link.is_symlink()
        assert ContextFile(path, {}).active().address == "grpc://b:30650"

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
    def test_unwritable_directory(self, path: Path) -> None:
        write(path, with_context())
        path.parent.chmod(0o500)
        try:
            with pytest.raises(ConfigurationError, match="cannot write"):
                ContextFile(path, {}).write_context("one", "b")
        finally:
            path.parent.chmod(0o700)

    def test_concurrent_writers_lose_nothing(self, path: Path) -> None:
        code = """
import sys
from pathlib import Path
from pachmount.pfs.contexts import ContextFile
for number in range(20):
    ContextFile(Path(sys.argv[1]), {}).write_context(f"w{sys.argv[2]}-{number}", "localhost")
"""
        writers = [subprocess.Popen([sys.executable, "-c", code, str(path), str(number)]) for number in range(4)]
        assert [writer.wait() for writer in writers] == [0] * 4
        assert len(ContextFile(path, {}).names()) == 80
        assert {found.name for found in path.parent.iterdir()} == {"config.json", "config.json.lock"}
