"""Publishing notebooks and scripts: what the cluster is asked for, what is left where it fails, and the commands."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from pachmount.api import schema
from pachmount.client import DaemonClient
from pachmount.errors import (
    BusyError,
    ClusterUnreachableError,
    ExitCode,
    InvalidNameError,
    NeedsClusterError,
    NotFoundError,
    NotPermittedError,
    PachmountError,
    UsageError,
)
from pachmount.localpfs.status import Code, Refusal
from pachmount.mounts.publishing import publish
from pachmount.pfs.model import RepoRef
from pachmount.pfs.proto import pps_pb2
from pachmount.publishing.model import CodeFile
from pachmount.publishing.plan import entrypoint, make_plan
from tests.integration.box import Box
from tests.integration.pipeline_cluster import PipelineCluster, context, pipeline_cluster
from tests.integration.rest_client import over_socket

IMAGES = RepoRef("default", "images")
INPUT = "pfs:\n  repo: images\n  glob: /*\n"
DENIED = (
    "user:ada@example.com is not authorized to perform this operation - needs permissions [REPO_WRITE] on REPO "
    "default/edges. Run `pachctl auth roles-for-permission` to find roles that grant a given permission."
)


@pytest.fixture
def box(pipeline_box: Box) -> Box:
    return pipeline_box


@pytest.fixture
def daemon(box: Box) -> Iterator[DaemonClient]:
    with box.daemon() as client:
        yield client


def asked(name: str, text: str = "print(1)\n", **more: Any) -> schema.PublishRequest:
    values = {"name": name, "image": "python:3.12", "input": INPUT, "code": [{"path": "user_code.py", "text": text}]}
    return schema.PublishRequest.model_validate(values | more)


def test_the_pipeline_field_by_field(cluster: PipelineCluster, daemon: DaemonClient) -> None:
    answer = daemon.publish(asked("edges"))
    (request,) = cluster.requests
    assert MessageToDict(request, preserving_proto_field_name=True) == {
        "pipeline": {"project": {"name": "default"}, "name": "edges"},
        "description": "Auto-generated from notebook",
        "transform": {"image": "python:3.12", "cmd": ["python3", "-u", "/pfs/edges__context/entrypoint.py"]},
        "input": {
            "cross": [
                {"pfs": _pfs("images", "images", "master", "/*")},
                {"pfs": _pfs("edges__context", "edges__context", f"commit_{answer.commit}", "/")},
            ]
        },
        "update": True,
        "reprocess": True,
    }
    assert answer.spec == MessageToDict(request, preserving_proto_field_name=True)
    assert (answer.project, answer.pipeline, answer.version) == ("default", "edges", 1)
    assert (answer.context_repo, answer.branch) == ("edges__context", f"commit_{answer.commit}")
    assert answer.warnings == []
    head = cluster.client.inspect_branch(context("edges"), answer.branch).head.id
    assert head == cluster.client.inspect_branch(context("edges")).head.id == answer.commit


def _pfs(name: str, repo: str, branch: str, glob: str) -> dict[str, str]:
    told = {"name": name, "project": "default", "repo": repo, "repo_type": "user", "branch": branch, "glob": glob}
    return dict(sorted(told.items()))


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"port": 8080}, {"service": {"internal_port": 8080, "external_port": 8080, "type": "LoadBalancer"}}),
        ({"gpu_mode": "Simple"}, {"resource_limits": {"gpu": {"type": "nvidia.com/gpu", "number": "1"}}}),
        (
            {"gpu_mode": "Advanced", "resource_spec": "cpu: 0.5\nmemory: 1G\ngpu: {type: x, number: 2}"},
            {"resource_limits": {"cpu": 0.5, "memory": "1G", "gpu": {"type": "x", "number": "2"}}},
        ),
        ({"gpu_mode": "None", "resource_spec": "cpu: 1"}, {}),
    ],
)
def test_service_and_resources(
    cluster: PipelineCluster, daemon: DaemonClient, more: dict[str, Any], told: dict[str, Any]
) -> None:
    daemon.publish(asked("limits", **more))
    (request,) = cluster.requests
    sent = MessageToDict(request, preserving_proto_field_name=True)
    assert {key: sent[key] for key in ("service", "resource_limits") if key in sent} == told


def test_what_only_workers_need_of_an_input_is_sent(cluster: PipelineCluster, daemon: DaemonClient) -> None:
    trigger = "trigger: {branch: staging, size: 1G}"
    spec = f"input:\n  join:\n  - pfs: {{repo: images, glob: '/(*)', joinOn: $1, lazy: true, s3: true, {trigger}}}\n"
    daemon.publish(asked("inputs", input=spec))
    (user, _) = cluster.requests[0].input.cross
    (leaf,) = user.join
    assert (leaf.pfs.join_on, leaf.pfs.lazy, leaf.pfs.s3, leaf.pfs.empty_files) == ("$1", True, True, False)
    assert (leaf.pfs.trigger.branch, leaf.pfs.trigger.size) == ("staging", "1G")


def test_in_a_project_repos_are_the_projects(cluster: PipelineCluster, daemon: DaemonClient) -> None:
    cluster.client.create_project("photos")
    cluster.put(RepoRef("photos", "images"), {"/c": b"c"})
    daemon.publish(asked("edges", project="photos"))
    (request,) = cluster.requests
    assert request.pipeline.project.name == "photos"
    assert [leaf.pfs.project for leaf in request.input.cross] == ["photos", "photos"]
    assert cluster.branches(context("edges", "photos"))


def test_the_context_repo_has_the_files_and_nothing_else(cluster: PipelineCluster, box: Box) -> None:
    with box.daemon() as daemon:
        more = [{"path": "old.py", "text": "x"}, {"path": "requirements.txt", "text": "numpy\n"}]
        daemon.publish(asked("files", code=[{"path": "user_code.py", "text": "print(1)\n"}, *more]))
        answer = daemon.publish(asked("files", "print('é')\n"))
    mounted = box.mount(f"files__context@{answer.branch}", name="context")
    directory = Path(mounted["mountpoint"])
    assert box.out("ls $1", directory).split() == ["entrypoint.py", "user_code.py"]
    assert box.out("cat $1", directory / "user_code.py") == "print('é')\n"
    assert box.out("cat $1", directory / "entrypoint.py") == entrypoint().text


def test_published_again_it_is_the_next_version(cluster: PipelineCluster, daemon: DaemonClient) -> None:
    first, second = daemon.publish(asked("again")), daemon.publish(asked("again", "print(2)\n"))
    assert (first.version, second.version) == (1, 2)
    assert cluster.branches(context("again")) == {"master", first.branch, second.branch}  # both versions read theirs
    assert cluster.client.inspect_commit(cluster.client.inspect_branch(context("again")).head).parent == first.commit


def test_branches_that_no_version_reads_are_removed(cluster: PipelineCluster) -> None:
    plan = make_plan(
        project="default", name="tidy", image="i", input_spec=INPUT, files=[CodeFile("user_code.py", "1\n")]
    )
    first = publish(cluster.client, plan)
    left = publish(cluster.client, plan)
    cluster.versions["default", "tidy"].pop()  # as if the answer of that one had been lost
    cluster.client.create_branch(context("tidy"), "commit_mine")
    moved = f"commit_{'0' * 32}"
    cluster.client.create_branch(context("tidy"), moved)
    young = publish(cluster.client, plan)
    others = {"master", "commit_mine", moved, first.branch}
    assert cluster.branches(context("tidy")) == others | {left.branch, young.branch}
    last = publish(cluster.client, plan, settled_s=0)
    assert cluster.branches(context("tidy")) == others | {young.branch, last.branch}
    assert last.warnings == ()


@pytest.mark.parametrize("fault", ["ListPipeline", "ListBranch", "no details"])
def test_a_failing_clean_up_is_told(cluster: PipelineCluster, daemon: DaemonClient, fault: str) -> None:
    cluster.tells_details = fault != "no details"
    cluster.faults[fault] = Refusal(Code.UNKNOWN, "no idea")
    answer = daemon.publish(asked(f"untidy-{fault.replace(' ', '-')}"))
    assert answer.version == 1
    (warning,) = answer.warnings
    assert "unused branches of default/untidy" in warning


def test_a_dry_run_makes_nothing(cluster: PipelineCluster, daemon: DaemonClient) -> None:
    answer = daemon.publish(asked("dry", dry_run=True))
    assert (answer.version, answer.branch, answer.commit, answer.warnings) == (None, "", "", [])
    assert answer.spec["input"]["cross"][1]["pfs"]["branch"] == "…"
    assert "nothing was made" in answer.message
    assert not cluster.requests
    with pytest.raises(NotFoundError):
        cluster.client.inspect_repo(context("dry"))
    with pytest.raises(NotFoundError, match="repo default/nowhere not found"):
        daemon.publish(asked("dry", input="pfs: {repo: nowhere, glob: /}", dry_run=True))


# --- failures


@pytest.mark.parametrize(
    ("changes", "kind", "text"),
    [
        ({"name": "a/b"}, InvalidNameError, "invalid pipeline name"),
        ({"image": ""}, UsageError, "field image not set"),
        ({"input": "pfs: {glob: /}"}, UsageError, "repo must be specified — pfs, line 1"),
        ({"input": "pfs: {repo: images, glob: /, trigger: {sizes: 1}}"}, UsageError, "trigger"),
        ({"input": "pfs: {repo: nowhere, glob: /}"}, NotFoundError, "input 'nowhere': repo default/nowhere not found"),
        ({"project": "nowhere"}, NotFoundError, "nowhere"),
        ({"gpu_mode": "Advanced", "resource_spec": "cpu: x"}, UsageError, "cpu must be a number of cores"),
        ({"code": []}, UsageError, "there is no user_code.py"),
    ],
)
def test_bad_requests_make_nothing(
    cluster: PipelineCluster, daemon: DaemonClient, changes: dict[str, Any], kind: type[PachmountError], text: str
) -> None:
    with pytest.raises(kind) as caught:
        daemon.publish(asked("bad").model_copy(update={**changes}))
    assert text in str(caught.value)
    assert not cluster.requests
    with pytest.raises(NotFoundError):
        cluster.client.inspect_repo(context("bad"))


def test_a_refused_pipeline_leaves_no_branch_and_tells_the_rest(cluster: PipelineCluster, daemon: DaemonClient) -> None:
    cluster.faults["CreatePipeline"] = Refusal(Code.PERMISSION_DENIED, DENIED)
    with pytest.raises(NotPermittedError) as caught:
        daemon.publish(asked("refused"))
    assert caught.value.what.startswith("user:ada@example.com is not authorized")
    assert "repoWriter" in caught.value.hint
    head = cluster.client.inspect_branch(context("refused")).head.id
    assert caught.value.why == f"made before: repo default/refused__context, commit {head} on its master"
    assert cluster.branches(context("refused")) == {"master"}
    del cluster.faults["CreatePipeline"]
    assert daemon.publish(asked("refused")).version == 1


def test_a_repo_that_may_not_be_made(cluster: PipelineCluster, daemon: DaemonClient) -> None:
    cluster.faults["CreateRepo"] = Refusal(Code.PERMISSION_DENIED, DENIED)
    with pytest.raises(NotPermittedError) as caught:
        daemon.publish(asked("no-repo"))
    assert caught.value.why == ""


def test_a_lost_answer_keeps_the_branch_and_says_so(cluster: PipelineCluster, daemon: DaemonClient) -> None:
    cluster.answers_are_lost = True
    with pytest.raises(ClusterUnreachableError) as caught:
        daemon.publish(asked("lost"))
    (request,) = cluster.requests
    branch = request.input.cross[1].pfs.branch
    assert f"its branch {branch}, perhaps the pipeline" in caught.value.why
    assert cluster.branches(context("lost")) == {"master", branch}


def test_an_open_commit_is_in_the_way(cluster: PipelineCluster, daemon: DaemonClient) -> None:
    cluster.client.create_repo(context("open"))
    cluster.client.start_commit(context("open"))
    with pytest.raises(BusyError, match="cannot commit to default/open__context@master"):
        daemon.publish(asked("open"))


def test_a_commit_that_fails_is_taken_back(cluster: PipelineCluster, daemon: DaemonClient) -> None:
    cluster.faults["AddFileSet"] = Refusal(Code.UNKNOWN, "no room")
    with pytest.raises(PachmountError, match="no room") as caught:
        daemon.publish(asked("broken"))
    assert caught.value.why == "made before: repo default/broken__context"
    assert cluster.branches(context("broken")) == set()


def test_a_cluster_without_pipelines(cluster: PipelineCluster, daemon: DaemonClient) -> None:
    for method in ("InspectPipeline", "ListPipeline"):
        cluster.faults[method] = Refusal(Code.UNIMPLEMENTED, "unknown service pps_v2.API")
    with pytest.raises(NeedsClusterError, match="publishing needs a cluster that runs pipelines"):
        daemon.publish(asked("none"))
    with pytest.raises(NeedsClusterError):
        daemon.pipelines()
    assert "needs a cluster" in daemon.publish(asked("none", dry_run=True)).warnings[0]
    with pytest.raises(NotFoundError):
        cluster.client.inspect_repo(context("none"))


def test_the_embedded_server_and_one_that_is_gone(new_box: Any, tmp_path: Path) -> None:
    box = new_box()
    (box.root / "code.py").write_text("print(1)\n")
    publish = ("publish", "code.py", "--image", "i", "--input", "images:/")
    said = box.refused(*publish, code=ExitCode.UNREACHABLE)
    assert "publishing needs a cluster that runs pipelines — the embedded server keeps files alone" in said
    assert "hint: connect to one: pachmount login ADDRESS" in said
    assert "needs a cluster" in box.refused("pipelines", code=ExitCode.UNREACHABLE)
    assert json.loads(box.ok(*publish, "--dry-run"))["pipeline"]["name"] == "code"
    with over_socket(box.places.socket) as rest:
        code = [{"path": "user_code.py", "text": "x"}]
        answer = rest.put("/pipelines/_publish", {"name": "n", "image": "i", "input": INPUT, "code": code})
        assert answer.status_code == 501
        assert answer.text.startswith("publishing needs a cluster that runs pipelines")
    with pipeline_cluster(tmp_path / "store") as cluster:
        box.ok("login", cluster.address)
    assert "cannot reach the cluster" in box.refused(*publish, code=ExitCode.UNREACHABLE)


# --- how they are


def test_pipelines_and_their_jobs(cluster: PipelineCluster, box: Box) -> None:
    with box.daemon() as daemon:
        daemon.publish(asked("watched"))
        assert [entry.last_job for entry in daemon.pipelines(name="watched")] == [None]
        info = cluster.versions["default", "watched"][-1]
        info.state, info.reason = pps_pb2.PIPELINE_CRASHING, "image cannot be pulled"
        job = pps_pb2.JobInfo(job=pps_pb2.Job(id="4" * 32), state=pps_pb2.JOB_FAILURE, reason="datum failed")
        job.data_processed, job.data_skipped, job.data_failed, job.data_total = 3, 2, 1, 6
        job.started.FromSeconds(1_800_000_000)
        cluster.jobs["default", "watched"] = [job]
        (entry,) = daemon.pipelines("default", "watched")
        assert entry.model_dump() == {
            "project": "default",
            "name": "watched",
            "version": 1,
            "state": "crashing",
            "reason": "image cannot be pulled",
            "created": 1_800_000_000.0,
            "last_job": {
                "id": "4" * 32,
                "state": "failure",
                "reason": "datum failed",
                "started": 1_800_000_000.0,
                "finished": None,
                "done": 5,
                "failed": 1,
                "total": 6,
            },
        }
        assert {entry.name for entry in daemon.pipelines()} >= {"watched"}
        assert daemon.pipelines("default", "nowhere") == daemon.pipelines("nowhere") == []
    done = box.run("pipelines", "watched")
    told = [cell.strip() for cell in re.split("  +", done.stdout.splitlines()[1])]
    assert told[:5] == ["default/watched", "1", "crashing", "failure", "5 of 6, 1 failed"]
    assert "image cannot be pulled" in done.stderr
    assert "datum failed" in done.stderr
    assert json.loads(box.ok("pipelines", "--json", "--project", "default"))
    assert "no pipeline 'nowhere'" in box.refused("pipelines", "nowhere", code=ExitCode.NOT_FOUND)


def test_a_state_of_a_newer_cluster(cluster: PipelineCluster, daemon: DaemonClient) -> None:
    daemon.publish(asked("newer"))
    cluster.versions["default", "newer"][-1].state = 99  # type: ignore[assignment]
    assert daemon.pipelines(name="newer")[0].state == "unknown"


def test_jobs_that_may_not_be_seen(cluster: PipelineCluster, daemon: DaemonClient) -> None:
    daemon.publish(asked("hidden"))
    cluster.faults["ListJob"] = Refusal(Code.PERMISSION_DENIED, DENIED)
    assert daemon.pipelines(name="hidden")[0].last_job is None
