"""The variables that code finds in its environment, as in a pipeline's worker."""

from __future__ import annotations

from pathlib import PurePath, PurePosixPath

from pachmount.datums.model import Datum

PFS = PurePosixPath("/pfs")


def of_datum(datum: Datum, job_id: str, token: str = "", pfs: PurePath = PFS) -> dict[str, str]:
    """What a datum and its job add to the environment; of several files of one input, the last one wins."""
    variables: dict[str, str] = {}
    for file in datum.files:
        variables[file.input] = str(pfs / file.input / file.path.lstrip("/"))
        variables[f"{file.input}_COMMIT"] = file.commit
        if file.join_on:
            variables[f"PACH_DATUM_{file.input}_JOIN_ON"] = file.join_on
        if file.group_by:
            variables[f"PACH_DATUM_{file.input}_GROUP_BY"] = file.group_by
    variables["PACH_DATUM_ID"] = datum.id
    variables["PACH_JOB_ID"] = variables["PACH_OUTPUT_COMMIT_ID"] = job_id
    if token:
        variables["PACH_TOKEN"] = token
    return variables
