"""The routes of pipelines (ours): publishing code as one, and how they are."""

from __future__ import annotations

from dataclasses import asdict

from pachmount.api import schema
from pachmount.api.decode import decode_body
from pachmount.api.handlers import Handler
from pachmount.mounts.pipelines import list_pipelines
from pachmount.mounts.publishing import Published, publish, try_out
from pachmount.pfs.model import JobInfo, PipelineInfo
from pachmount.publishing.model import CodeFile
from pachmount.publishing.plan import Plan, make_plan


class PipelinesHandler(Handler):
    """GET /pipelines?project=P&name=N (ours): pipelines, each with its last job."""

    compatible = False

    async def get(self) -> None:
        project, name = self.get_query_argument("project", ""), self.get_query_argument("name", "")
        self.answer(await self.look(lambda: self._pipelines(project, name)))

    def _pipelines(self, project: str, name: str) -> list[dict[str, object]]:
        self.require_login()
        if name:
            project = project or self.default_project
        found = list_pipelines(self.services.cluster.client, project, name)
        return [_pipeline(info, job).model_dump() for info, job in found]


class PublishHandler(Handler):
    """PUT /pipelines/_publish (ours): code becomes a pipeline, or its next version."""

    compatible = False

    async def put(self) -> None:
        await self.look(self.require_login)
        self.answer(await self.upload(self._publish))

    def _publish(self) -> schema.PublishedAnswer:
        request = decode_body(self.request.body, schema.PublishRequest)
        plan = make_plan(
            project=request.project or self.default_project,
            name=request.name,
            image=request.image,
            input_spec=request.input,
            files=[CodeFile(entry.path, entry.text) for entry in request.code],
            port=request.port,
            gpu_mode=request.gpu_mode,
            resource_spec=request.resource_spec,
        )
        act = try_out if request.dry_run else publish
        return _published(plan, act(self.services.cluster.client, plan))


def _published(plan: Plan, published: Published) -> schema.PublishedAnswer:
    where = f"pipeline {plan.project}/{plan.name}"
    return schema.PublishedAnswer(
        pipeline=plan.name,
        project=plan.project,
        version=published.version,
        context_repo=plan.context_repo,
        branch=published.branch,
        commit=published.commit,
        message=f"published {where}" if published.commit else f"nothing was made: {where} can be published",
        spec=published.spec,
        warnings=list(published.warnings),
    )


def _pipeline(info: PipelineInfo, job: JobInfo | None) -> schema.PipelineAnswer:
    return schema.PipelineAnswer(
        project=info.project,
        name=info.name,
        version=info.version,
        state=info.state,
        reason=info.reason,
        created=info.created,
        last_job=schema.JobAnswer(**asdict(job)) if job is not None else None,
    )
