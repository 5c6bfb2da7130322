"""Every error a user can meet: one tree, rendered as RFC 9457 problem details by the service and raised by the client.

LatentmillError
├── InvalidRequest (422)           a field, its bound, the way out
│   ├── InvalidBundle, InvalidDataset, InvalidLabels
│   ├── ModelMismatch              things that do not belong together
│   ├── LimitExceeded
│   ├── IdempotencyKeyReused
│   └── DataError                  the model or the data fail at work
├── NotAuthenticated (401), NotAllowed (403), NotFound (404), Gone (410)
├── Conflict (409)
│   └── NameTaken, NotReady, NoReport, InUse, NotRetryable, AlreadyRunning
├── NotAcceptable (406)
├── BodyTooLarge (413), LengthRequired (411), UnsupportedMedia (415), RangeNotSatisfiable (416)
├── TooManyRequests (429: LimitReached), NotYet (501)
├── Unavailable (503)              the surroundings: waits and is tried again
│   └── StorageFull (507), StorageFault, DatabaseFault, DatabaseFull (507), BrokerFault
├── Abandoned (500)                a work item whose workers were lost too often
├── TimeLimitExceeded (500)        a work item that took longer than its kind may
├── Internal (500)                 a defect of Latentmill's own
└── Unreachable, VerificationFailed, WaitTimedOut, NotInstalled, StartFailed     met only on the client's side: see
                                                                                 client_errors.py
"""

from latentmill.client_errors import NotInstalled as NotInstalled
from latentmill.client_errors import StartFailed as StartFailed
from latentmill.client_errors import Unreachable as Unreachable
from latentmill.client_errors import VerificationFailed as VerificationFailed
from latentmill.client_errors import WaitTimedOut as WaitTimedOut
from latentmill.problem import FieldError as FieldError
from latentmill.problem import LatentmillError as LatentmillError
from latentmill.problem import Problem as Problem


class InvalidRequest(LatentmillError):
    """The request is not valid."""

    code, status = "invalid_request", 422


class InvalidBundle(InvalidRequest):
    """The file is not a bundle that Latentmill can open; `latentmill export --help` makes one."""

    code = "invalid_bundle"


class InvalidDataset(InvalidRequest):
    """The file is not a dataset that Latentmill can read."""

    code = "invalid_dataset"


class InvalidLabels(InvalidRequest):
    """The labels do not fit the model, the fit or the rows."""

    code = "invalid_labels"


class ModelMismatch(InvalidRequest):
    """The things named in the request do not belong together."""

    code = "model_mismatch"


class LimitExceeded(InvalidRequest):
    """The request goes beyond a limit; `GET /v1/limits` lists them."""

    code = "limit_exceeded"


class IdempotencyKeyReused(InvalidRequest):
    """The idempotency key was used before with another body; take a new key."""

    code = "idempotency_key_reused"


class DataError(InvalidRequest):
    """The model or the data gave values that cannot be used."""

    code = "data_error"


class NotAuthenticated(LatentmillError):
    """An API key is needed: `Authorization: Bearer <key>`."""

    code, status = "not_authenticated", 401


class NotAllowed(LatentmillError):
    """The API key may not do this."""

    code, status = "not_allowed", 403


class NotFound(LatentmillError):
    """There is nothing under this id or name."""

    code, status = "not_found", 404


class MethodNotAllowed(LatentmillError):
    """The address exists, but not with this method."""

    code, status = "method_not_allowed", 405


class NotAcceptable(LatentmillError):
    """The answer cannot be given in any of the media types that the Accept header names."""

    code, status = "not_acceptable", 406


class Gone(LatentmillError):
    """It was deleted."""

    code, status = "gone", 410


class Conflict(LatentmillError):
    """The request conflicts with the present state."""

    code, status = "conflict", 409


class NameTaken(Conflict):
    """Another resource of this kind has this name; choose another or delete that one."""

    code = "name_taken"


class NotReady(Conflict):
    """What the request needs is not there yet, or was rejected, failed or deleted."""

    code = "not_ready"


class NoReport(Conflict):
    """No report says which strategy to use; make one, or name a strategy."""

    code = "no_report"


class InUse(Conflict):
    """Something that is still at work needs it."""

    code = "in_use"


class NotRetryable(Conflict):
    """Only a failed or cancelled job can be retried."""

    code = "not_retryable"


class AlreadyRunning(Conflict):
    """Latentmill is already running on this data directory."""

    code = "already_running"


class LengthRequired(LatentmillError):
    """The upload must say its size in Content-Length."""

    code, status = "length_required", 411


class BodyTooLarge(LatentmillError):
    """The body is larger than allowed."""

    code, status = "body_too_large", 413


class UnsupportedMedia(LatentmillError):
    """The body is not of a kind that this address takes."""

    code, status = "unsupported_media_type", 415


class RangeNotSatisfiable(LatentmillError):
    """The range lies outside the file."""

    code, status = "range_not_satisfiable", 416


class TooManyRequests(LatentmillError):
    """Too many at once; wait as long as Retry-After says."""

    code, status, retryable = "too_many_requests", 429, True


class LimitReached(TooManyRequests):
    """There are as many of these as are allowed at a time; `GET /v1/limits` shows how many."""

    code = "limit_reached"


class NotYet(LatentmillError):
    """This is part of the contract, but not of this release."""

    code, status = "not_yet", 501


class Unavailable(LatentmillError):
    """Something that Latentmill needs is away for the moment; the request can be repeated."""

    code, status, retryable = "unavailable", 503, True


class StorageFault(Unavailable):
    """The storage did not take or give a file."""

    code = "storage_fault"


class StorageFull(Unavailable):
    """The disk is full."""

    code, status = "storage_full", 507


class DatabaseFault(Unavailable):
    """The database did not answer."""

    code = "database_fault"


class DatabaseFull(DatabaseFault):
    """The disk of the database is full: what is there can be read, nothing can be changed until there is room."""

    code, status = "database_full", 507


class BrokerFault(Unavailable):
    """The broker did not answer."""

    code = "broker_fault"


class Abandoned(LatentmillError):
    """Workers were lost at this piece of work too often."""

    code = "abandoned"


class TimeLimitExceeded(LatentmillError):
    """It took longer than a setting allows."""

    code = "time_limit_exceeded"


class OutOfMemory(LatentmillError):
    """The device ran out of memory; ask for a smaller `execution.batch_rows`."""

    code = "out_of_memory"


class Internal(LatentmillError):
    """An error inside Latentmill; the request id finds it in the log."""

    code = "internal"


class Cancelled(LatentmillError):
    """It was cancelled."""

    code, status = "cancelled", 409
