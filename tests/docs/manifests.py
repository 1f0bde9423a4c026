"""What docs/deploy says to run: the pod, the pod that a hub makes of the values, the image's recipe, the commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.docs import command_lines as lines

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "docs/deploy"
DOCUMENTS = sorted(DEPLOY.glob("*.md"))
SIDE, NOTEBOOK = "pachmount", "notebook"

Yaml = dict[str, Any]

_VARIABLE = re.compile(r"\$\((\w+)\)")


def load(name: str) -> Yaml:
    loaded: Yaml = yaml.safe_load((DEPLOY / name).read_text())
    return loaded


def hub_pod() -> Yaml:
    """The pod that KubeSpawner makes of the values, as far as they say."""
    values = load("jupyterhub-values.yaml")["singleuser"]
    notebook = {
        "name": NOTEBOOK,
        "image": "{name}:{tag}".format(**values["image"]),
        "env": [{"name": name, "value": value} for name, value in values["extraEnv"].items()],
        "volumeMounts": values["storage"]["extraVolumeMounts"],
        "securityContext": {"runAsUser": values["uid"], "allowPrivilegeEscalation": False},
    }
    spec = {
        **values["extraPodConfig"],
        "securityContext": {"fsGroup": values["fsGid"]},
        "containers": [notebook, *values["extraContainers"]],
        "volumes": values["storage"]["extraVolumes"],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "jupyter-user"}, "spec": spec}


def pods() -> dict[str, Yaml]:
    return {"pod": load("pod.yaml"), "hub": hub_pod()}


def containers(pod: Yaml) -> dict[str, Yaml]:
    spec = pod["spec"]
    return {found["name"]: found for found in [*spec.get("initContainers", []), *spec["containers"]]}


def environment(container: Yaml) -> dict[str, str]:
    """The variables whose value the manifest tells."""
    return {entry["name"]: entry["value"] for entry in container.get("env", []) if "value" in entry}


def command(container: Yaml) -> list[str]:
    """The command with `$(NAME)` replaced as the kubelet does."""
    known = environment(container)
    return [_VARIABLE.sub(lambda found: known[found.group(1)], word) for word in container["command"]]


def probes(container: Yaml) -> dict[str, Yaml]:
    return {key: value for key, value in container.items() if key.endswith("Probe")}


def mounts(container: Yaml) -> dict[str, Yaml]:
    """By the name of the volume."""
    return {mount["name"]: mount for mount in container["volumeMounts"]}


def dockerfile() -> list[tuple[str, str]]:
    """Instructions with their arguments; continued lines are joined."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    lines = [line.partition(" ") for line in text.splitlines() if line]
    return [(name, " ".join(rest.split())) for name, _, rest in lines]


def build_arguments() -> dict[str, str]:
    """The arguments of the image with their defaults."""
    found = [rest.partition("=") for name, rest in dockerfile() if name == "ARG"]
    return {name: default for name, _, default in found}


def command_lines() -> Iterator[tuple[str, list[str]]]:
    """Every `pachmount …` that the documents, manifests, the unit and the image's recipe say, with where."""
    for document in DOCUMENTS:
        for words in lines.command_lines(document):
            yield document.name, words
    for name, pod in pods().items():
        yield name, command(containers(pod)[SIDE])
    for line in (DEPLOY / "pachmount.service").read_text().splitlines():
        if line.startswith("ExecStart="):
            yield "pachmount.service", ["pachmount", *shlex.split(line)[1:]]
