"""What workers claim: one table, one claim, one heartbeat, one sweep, one fair publisher."""

from service.work.claims import Claim, FenceLost, Stopped, cancel, claim, end_leases, fail, finish, hand_back
from service.work.heartbeat import Heartbeat
from service.work.items import (
    DEFAULT_PRIORITY,
    NewItem,
    add,
    add_many,
    cancel_pending,
    cancel_subject,
    live_items,
    request_stop,
)
from service.work.publisher import Publisher
from service.work.tables import Kind, LockRow, NeedRow, WorkerRow, WorkItemRow

__all__ = [
    "DEFAULT_PRIORITY",
    "Claim",
    "FenceLost",
    "Heartbeat",
    "Kind",
    "LockRow",
    "NeedRow",
    "NewItem",
    "Publisher",
    "Stopped",
    "WorkItemRow",
    "WorkerRow",
    "add",
    "add_many",
    "cancel",
    "cancel_pending",
    "cancel_subject",
    "claim",
    "end_leases",
    "fail",
    "finish",
    "hand_back",
    "live_items",
    "request_stop",
]
