"""What the versions of the original take as an input, and the texts with which they refuse the rest."""

from __future__ import annotations

from dataclasses import dataclass

from pachmount.errors import NoDatumsError


@dataclass(frozen=True)
class Rules:
    """How a spec is read. The texts in front of errors are those of that version.

    `strict`: what 2.9 checks is checked: repo and glob given, one kind of input a node, names used once, no s3. `name`:
    the default name, of {project}, {repo} and {_branch} ("" for the branch master). `expanded`: datums of crosses and
    unions are in the order in which they are written down, not in that of their ids. `s3` refuses such
    inputs, "" does not.
    """

    strict: bool
    commit_allowed: bool
    name: str
    reading: str = ""
    processing: str = ""
    parsing: str = ""
    names: str = ""
    listing: str = ""
    s3: str = "s3 data not supported in mounting datums"
    cron: str = "cron input type not supported in mounting datums"
    none_set: str = "no input set"
    no_datums: str = "spec produces zero datums; nothing to mount"
    expanded: bool = False

    def zero_datums(self) -> NoDatumsError:
        """The error for an input that nothing matches."""
        return NoDatumsError(self.listing + self.no_datums)


OURS = Rules(strict=True, commit_allowed=True, name="{repo}")
"""As a pipeline, but for `commit`, which is honoured."""

PUBLISHED = Rules(
    strict=True,
    commit_allowed=False,
    name="{repo}",
    s3="",
    cron="a cron input cannot be published from here, only by pachctl",
)
"""The input of a pipeline that is to be created. `s3` is allowed."""

V2_9 = Rules(
    strict=True,
    commit_allowed=False,
    name="{repo}",
    reading="error reading next CreatePipeline request: ",
    processing="error processing input: ",
    parsing="error parsing datum input: ",
    names="invalid names in datum input: ",
    listing="error listing spec's datums: ",
    expanded=True,
)

V2_6 = Rules(
    strict=False,
    commit_allowed=True,
    name="{project}_{repo}{_branch}",
    cron="can't list datums with a cron input, there will be no datums until the pipeline is created",
    none_set="unrecognized input type",
    no_datums="no datums match the given input spec",
)
