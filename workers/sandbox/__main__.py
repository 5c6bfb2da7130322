"""`python -I -m workers.sandbox`: parse one upload and end.

It says, in lines of JSON, how far it is confined; that it is ready, its modules loaded; and the answer to the one
request that it reads. Started early it loads everything while it waits, so that no upload waits for torch.
"""

import json
import os
import select
import sys
from dataclasses import asdict

from workers.sandbox.confinement import confine, give_up_privileges
from workers.sandbox.loading import load_models, load_readers

READY = "{}"


def main() -> int:
    """Answer the request on standard input."""
    answers = os.dup(1)
    os.dup2(2, 1)  # what a library prints is no answer
    _say(answers, json.dumps(asdict(give_up_privileges())))
    if not _is_asked():
        load_readers()
    if is_early := not _is_asked():
        load_models()
        _say(answers, READY)
    line = sys.stdin.buffer.readline()
    if not line:
        return 0  # nobody needs this process any more
    from workers.sandbox.performing import answer_to
    from workers.sandbox.requests import REQUEST

    request = REQUEST.validate_json(line)
    if not is_early:
        if request.kind == "inspect":
            load_models()
        _say(answers, READY)
    os.chdir(request.folder)
    confine(request.bounds, readable=request.inputs, writable=[request.folder])
    _say(answers, answer_to(request))
    return 0


def _say(answers: int, line: str) -> None:
    data = memoryview(line.encode() + b"\n")
    while data:
        data = data[os.write(answers, data) :]


def _is_asked() -> bool:
    """Whether there is something to read: the request, or the end of all."""
    return bool(select.select([0], [], [], 0)[0])


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    os._exit(status)  # what was parsed is not worth tidying up after
