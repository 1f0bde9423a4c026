"""docs/deploy: the manifests hold together, and everything that is named in documents and manifests exists."""

from __future__ import annotations

import configparser
import importlib.metadata
import re
import shutil
import subprocess
from pathlib import Path

import kubernetes_validate  # type: ignore[import-untyped]
import pytest

from pachmount import __version__, paths
from pachmount.api.server import ROUTES
from pachmount.errors import ExitCode
from pachmount.settings import Settings, parse_size
from pachmount.users import parse_users
from tests.docs import manifests
from tests.docs.command_lines import parse
from tests.docs.manifests import DEPLOY, DOCUMENTS, NOTEBOOK, ROOT, SIDE, Yaml

PODS = manifests.pods()
FILES = sorted(path for path in DEPLOY.iterdir() if path.is_file())
NEEDED_TO_STOP = Settings.model_fields["shutdown_grace"].default + Settings.model_fields["stop_timeout"].default
SECRET = re.compile(r"TOKEN(?!_FILE)|PASSWORD|SECRET|_KEY")

each_pod = pytest.mark.parametrize("pod", PODS.values(), ids=PODS)


# --- the pods


@pytest.mark.parametrize("version", ["1.29", "1.33", kubernetes_validate.latest_version()])
@each_pod
def test_kubernetes_knows_every_field(pod: Yaml, version: str) -> None:
    kubernetes_validate.validate(pod, version, strict=True)


@each_pod
def test_volumes_exist_and_are_used(pod: Yaml) -> None:
    volumes = [volume["name"] for volume in pod["spec"]["volumes"]]
    used = {name for container in manifests.containers(pod).values() for name in manifests.mounts(container)}
    assert len(volumes) == len(set(volumes))
    assert used == set(volumes)


@each_pod
def test_only_the_side_container_is_privileged_and_mounts_for_both(pod: Yaml) -> None:
    found = manifests.containers(pod)
    assert set(found) == {SIDE, NOTEBOOK}
    rights = {name: container["securityContext"] for name, container in found.items()}
    assert {name for name, right in rights.items() if right.get("privileged")} == {SIDE}
    assert rights[SIDE].get("allowPrivilegeEscalation", True)  # fusermount is setuid
    assert rights[NOTEBOOK]["allowPrivilegeEscalation"] is False
    assert rights[NOTEBOOK]["runAsUser"] == rights[SIDE]["runAsUser"] != 0  # or it could not write
    propagated = {
        name: [(m["name"], m["mountPath"], m["mountPropagation"]) for m in c["volumeMounts"] if "mountPropagation" in m]
        for name, c in found.items()
    }
    assert propagated == {
        SIDE: [("pfs", "/pfs", "Bidirectional")],
        NOTEBOOK: [("pfs", "/pfs", "HostToContainer")],
    }


@each_pod
def test_both_containers_mean_the_same_daemon(pod: Yaml) -> None:
    found = manifests.containers(pod)
    side, notebook = (manifests.environment(found[name]) for name in (SIDE, NOTEBOOK))
    assert paths.sidecar_mode(side)
    assert paths.sidecar_mode(notebook)
    ours, theirs = paths.places(None, side), paths.places(None, notebook)
    assert (ours.mount_dir, ours.socket) == (theirs.mount_dir, theirs.socket)
    where = {name: {m["mountPath"]: m for m in found[name]["volumeMounts"]} for name in found}
    assert str(ours.mount_dir) in where[SIDE].keys() & where[NOTEBOOK].keys()
    assert not where[SIDE][str(ours.socket.parent)].get("readOnly")
    assert where[NOTEBOOK][str(ours.socket.parent)]["readOnly"]
    assert not ours.socket.is_relative_to(ours.mount_dir)
    state = [path for path in where[SIDE] if ours.mounts_file.is_relative_to(path)]
    assert state == [side["HOME"]]
    assert parse_users(side["PACHMOUNT_SOCKET_USERS"], "") == frozenset(
        [found[NOTEBOOK]["securityContext"]["runAsUser"]]
    )


@each_pod
def test_the_settings_are_valid_and_fit_the_volume(pod: Yaml, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in manifests.environment(manifests.containers(pod)[SIDE]).items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.allow_other
    assert settings.on_shutdown == "commit"
    state = next(volume for volume in pod["spec"]["volumes"] if volume["name"].endswith("state"))
    room = parse_size(state["emptyDir"]["sizeLimit"])
    assert settings.cache_size + settings.listings_size + settings.staging_size <= room


@each_pod
def test_probes_ask_the_socket_and_wait_long_enough(pod: Yaml) -> None:
    side = manifests.containers(pod)[SIDE]
    found = manifests.probes(side)
    assert "livenessProbe" in found
    for probe in found.values():
        program, *flags, url = probe["exec"]["command"]
        assert (program, flags[0], flags[1], flags[3]) == ("curl", "-sf", "-m", "--unix-socket")
        assert flags[4] == manifests.environment(side)["PFS_SOCK_PATH"]
        assert float(flags[2]) < probe["timeoutSeconds"]
        assert url.removeprefix("http://localhost") in ROUTES
    patience = found["livenessProbe"]["periodSeconds"] * found["livenessProbe"]["failureThreshold"]
    assert patience >= 2 * Settings.model_fields["read_timeout"].default


def test_the_probe_of_the_notebook_names_its_port() -> None:
    notebook = manifests.containers(PODS["pod"])[NOTEBOOK]
    ports = {port["name"]: port["containerPort"] for port in notebook["ports"]}
    assert ports[notebook["readinessProbe"]["tcpSocket"]["port"]] == 8888
    assert ("EXPOSE", "8888") in manifests.dockerfile()


@each_pod
def test_there_is_time_to_commit_and_unmount(pod: Yaml) -> None:
    assert pod["spec"]["terminationGracePeriodSeconds"] > NEEDED_TO_STOP


def test_the_hub_gives_that_time() -> None:
    spawner = manifests.load("jupyterhub-values.yaml")["hub"]["config"]["KubeSpawner"]
    assert spawner["delete_grace_period"] == PODS["hub"]["spec"]["terminationGracePeriodSeconds"]


@each_pod
def test_secrets_come_from_secrets(pod: Yaml) -> None:
    entries = [entry for container in manifests.containers(pod).values() for entry in container.get("env", [])]
    assert all(set(entry) == {"name", "valueFrom"} for entry in entries if SECRET.search(entry["name"]))


@each_pod
def test_the_image_is_the_one_of_the_recipe(pod: Yaml) -> None:
    images = {container["image"] for container in manifests.containers(pod).values()}
    assert images == {f"pachmount-notebook:{__version__}"}
    assert all(f"-t {image} ." in (DEPLOY / "same-container.md").read_text() for image in images)


def test_both_side_containers_are_alike() -> None:
    def relevant(pod: Yaml) -> Yaml:
        side = manifests.containers(pod)[SIDE]
        kept = {key: side[key] for key in ("image", "command", "securityContext", "resources")}
        return {
            **kept,
            "env": manifests.environment(side),
            "mounted": sorted(m["mountPath"] for m in side["volumeMounts"]),
        }

    assert relevant(PODS["pod"]) == relevant(PODS["hub"])


# --- the unit

UNIT_KEYS = {
    "Unit": {"Description", "StartLimitIntervalSec", "StartLimitBurst"},
    "Service": {
        *(
            "Type",
            "NotifyAccess",
            "WatchdogSec",
            "ExecStart",
            "EnvironmentFile",
            "Restart",
            "RestartSec",
            "RestartPreventExitStatus",
        ),
        *("KillMode", "KillSignal", "TimeoutStopSec", "LimitCORE"),
    },
    "Install": {"WantedBy"},
}
"""Keys of systemd.unit(5), systemd.service(5), systemd.exec(5) and systemd.kill(5) that go with FUSE."""


def test_the_unit() -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(DEPLOY / "pachmount.service")
    assert {name: set(unit[name]) for name in unit.sections()} == UNIT_KEYS
    service = unit["Service"]
    assert float(service["TimeoutStopSec"]) > NEEDED_TO_STOP
    final = {int(code) for code in service["RestartPreventExitStatus"].split()}
    assert final == {ExitCode.BUSY, ExitCode.BAD_CONFIGURATION}
    text = (DEPLOY / "laptop.md").read_text()
    assert service["ExecStart"].split()[0].replace("%h", "~") in text
    assert service["EnvironmentFile"].removeprefix("-").replace("%E", "~/.config") in text


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd")
def test_systemd_understands_the_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    program = tmp_path / ".local/bin/pachmount"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    copy = shutil.copy(DEPLOY / "pachmount.service", tmp_path)
    command = ["systemd-analyze", "--user", "verify", str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# --- the image


def test_the_recipe_of_the_image() -> None:
    steps = manifests.dockerfile()
    assert {name for name, _ in steps} <= {
        *("ARG", "FROM", "WORKDIR", "COPY", "RUN", "USER", "EXPOSE", "ENTRYPOINT", "CMD"),
    }
    arguments = manifests.build_arguments()
    used = set(re.findall(r"\$\{(\w+)\}", " ".join(rest for _, rest in steps)))
    assert used == set(arguments)
    assert not any(SECRET.search(name) for name in arguments)
    assert arguments["PACHMOUNT_VERSION"] == __version__
    text = (DEPLOY / "same-container.md").read_text()
    for name, default in arguments.items():
        assert f"`{name}`" in text
        assert f"`{default}`" in text
    copied = [rest.split() for name, rest in steps if name == "COPY" and not rest.startswith("--from")]
    assert [source for *sources, _ in copied for source in sources if not (ROOT / source).exists()] == []
    users = [rest for name, rest in steps if name == "USER"]
    assert users == ["${NB_UID}:${NB_GID}"]
    for pod in PODS.values():
        side = manifests.containers(pod)[SIDE]["securityContext"]
        assert (side["runAsUser"], side["runAsGroup"]) == (int(arguments["NB_UID"]), int(arguments["NB_GID"]))
    runs = [rest for name, rest in steps if name == "RUN"]
    assert any("echo user_allow_other >> /etc/fuse.conf" in run for run in runs)


def test_the_recipe_installs_this_package() -> None:
    (line,) = [rest for name, rest in manifests.dockerfile() if name == "RUN" and rest.startswith("pip install")]
    project = importlib.metadata.metadata("pachmount")
    wanted = re.search(r'"(\w+)\[(\w+)\] @ file:///wheels/(\w+)-\$\{PACHMOUNT_VERSION\}-py3-none-any.whl"', line)
    assert wanted is not None
    assert wanted.group(1) == wanted.group(3) == project["Name"]
    assert wanted.group(2) in (project.get_all("Provides-Extra") or [])


def _apt_knows(package: str) -> bool:
    command = ["apt-cache", "show", "--no-all-versions", package]
    return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0


@pytest.mark.skipif(shutil.which("apt-cache") is None, reason="this is not Debian")
def test_the_system_packages_exist() -> None:
    if not _apt_knows("fuse3"):
        pytest.skip("apt has no lists")
    (line,) = [rest for name, rest in manifests.dockerfile() if "apt-get install" in rest]
    packages = line.partition("--no-install-recommends ")[2].partition(" &&")[0].split()
    libfuse = manifests.build_arguments()["LIBFUSE"]
    assert "${LIBFUSE}" in packages
    assert _apt_knows(libfuse) or _apt_knows(f"{libfuse}t64")
    assert [package for package in packages if "$" not in package and not _apt_knows(package)] == []


# --- what the documents name

COMMANDS = [(where, words) for where, words in manifests.command_lines()]


@pytest.mark.parametrize("words", [words for _, words in COMMANDS], ids=" ".join)
def test_commands_parse(words: list[str]) -> None:
    parse(words)


def test_the_commands_that_matter_are_among_them() -> None:
    said = {(where, " ".join(words[:2])) for where, words in COMMANDS}
    assert {
        ("pod", "pachmount mount-server"),
        ("hub", "pachmount mount-server"),
        ("pachmount.service", "pachmount daemon"),
        ("kubernetes.md", "pachmount mount"),
        ("laptop.md", "pachmount doctor"),
    } <= said


def _known_variables() -> set[str]:
    ours = [
        *(ROOT / "pachmount").rglob("*.py"),
        *(ROOT / "lab").glob("pachmount_lab/*.py"),
        ROOT / "lab/hatch_build.py",
    ]
    sources = "".join(path.read_text() for path in ours)
    read = set(re.findall(r'"([A-Z][A-Z_]+)"', sources))
    return read | {f"PACHMOUNT_{name.upper()}" for name in Settings.model_fields}


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.name)
def test_variables_are_known_to_the_program(file: Path) -> None:
    named = set(re.findall(r"\b(?:PACHMOUNT|PFS|PACH|PACHD|DEX|SIDECAR|FUSE)_[A-Z][A-Z_]*\b", file.read_text()))
    assert named - _known_variables() - set(manifests.build_arguments()) == set()


def test_the_table_of_variables_has_what_the_manifests_use_and_the_right_defaults() -> None:
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| \w+ \| (.*) \|$", (DEPLOY / "README.md").read_text(), re.MULTILINE))
    assert set(rows) <= _known_variables()
    used = {e["name"] for pod in PODS.values() for c in manifests.containers(pod).values() for e in c.get("env", [])}
    assert used - {"HOME"} <= set(rows)
    for name in ("SHUTDOWN_GRACE", "CACHE_SIZE", "STAGING_SIZE"):
        told = re.search(r"\((\d+G?)\)", rows[f"PACHMOUNT_{name}"])
        assert told is not None
        assert parse_size(told.group(1)) == Settings.model_fields[name.lower()].default


def test_every_file_is_linked() -> None:
    linked = {target for document in DOCUMENTS for target in re.findall(r"\]\(([^)#]+)", document.read_text())}
    assert {path.name for path in FILES} - linked == {"README.md"}


def test_what_was_not_tried_is_said_first() -> None:
    assert (DEPLOY / "kubernetes.md").read_text().split("\n\n")[1].startswith("**Not tried on a real cluster.**")
