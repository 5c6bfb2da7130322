"""Headers that every answer has: what a browser must not do with it, and that nobody keeps it who was not told to."""

import base64
import hashlib
import re

from starlette.datastructures import MutableHeaders

# Answers are data, not pages: should a browser open one, it runs and loads nothing. A page brings its own policy.
NOTHING = "default-src 'none'; frame-ancestors 'none'"
SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
CDN = "https://cdn.jsdelivr.net/npm/"  # where the page of /docs has its script and style from


def protect(headers: MutableHeaders) -> None:
    """Add what is missing; what a route has set itself stays."""
    headers.setdefault("X-Content-Type-Options", "nosniff")
    headers.setdefault("Referrer-Policy", "no-referrer")
    headers.setdefault("Content-Security-Policy", NOTHING)
    # With an ETag it may be kept by the client alone, who asks each time whether it still holds.
    headers.setdefault("Cache-Control", "private, no-cache" if "etag" in headers else "no-store")


def policy_of_docs(page: str) -> str:
    """The policy of the page of /docs: its own inline script by its hash, scripts and styles of its CDN, this API."""
    digests = [hashlib.sha256(script.encode()).digest() for script in SCRIPT.findall(page)]
    inline = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {inline} {CDN}; style-src 'unsafe-inline' {CDN}; "
        "img-src 'self' data: https://fastapi.tiangolo.com; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
