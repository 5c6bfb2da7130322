"""The steps of the mill, one for each kind of work item: look up, call a folder beside, put the files, commit."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from service.work import Claim
from workers.steps.fits import encode, fit
from workers.steps.jobs import finalize, make_shard
from workers.steps.previews import show_preview
from workers.steps.reports import report
from workers.steps.step import Check
from workers.steps.uploads import inspect_model, read_upload

if TYPE_CHECKING:
    from workers.workshop import Workshop

STEPS: dict[str, Callable[[Workshop, Claim, Check], None]] = {
    "inspect": inspect_model,
    "read": read_upload,
    "encode": encode,
    "fit": fit,
    "report": report,
    "shard": make_shard,
    "finalize": finalize,
    "preview": show_preview,
}
