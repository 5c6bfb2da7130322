"""The errors that are met only on the client's side; `latentmill.errors` has them beside all others."""

from latentmill.problem import LatentmillError


class Unreachable(LatentmillError):
    """No service answers at this address."""

    code, retryable = "unreachable", True


class VerificationFailed(LatentmillError):
    """A file differs from its checksum."""

    code = "verification_failed"


class WaitTimedOut(LatentmillError):
    """It had not ended when the time given to wait was over."""

    code = "wait_timed_out"


class NotInstalled(LatentmillError):
    """A part of Latentmill is not installed here: pip install 'latentmill[all]'."""

    code = "not_installed"


class StartFailed(LatentmillError):
    """A process of Latentmill did not start."""

    code = "start_failed"
