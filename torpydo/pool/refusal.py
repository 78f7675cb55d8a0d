"""Why a pool refuses a heartbeat. The text goes to the node that sent it, as plain text with an HTTP status."""

from __future__ import annotations

from torpydo.errors import DirectoryError

__all__ = ["Refused"]

BAD_REQUEST = 400
FORBIDDEN = 403
CONFLICT = 409
UNREACHABLE = 422
TOO_MANY = 429
BUSY = 503


class Refused(DirectoryError):
    """A heartbeat was refused.

    :ivar status: the HTTP status that says so
    :ivar retry_after: seconds after which it may be taken; ``None``: not without a change
    """

    def __init__(self, status: int, text: str, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.retry_after = retry_after
