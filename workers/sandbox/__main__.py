"""`python -I -m workers.sandbox`: parses uploads, one at a time, each in a fork of its own.

It says, in lines of JSON on the socket that is its standard input, how far it is confined; that it has begun with what
it was asked; and with which status that ended. The fork writes its answer to the pipe that came with the request. What
the fork gives up, this process keeps: so it opens no upload itself, and nothing of one stays in it.
"""

import json
import os
import select
import socket
import sys
from dataclasses import asdict

from workers.sandbox.confinement import confine, die_with_parent, give_up_privileges
from workers.sandbox.loading import load_models, load_readers

PIECE_BYTES = 2**16
PIPES = 2  # for the answer, and for what libraries print


def main() -> int:
    """Serve until the other end is closed."""
    control = socket.socket(fileno=os.dup(0))
    _say(control, asdict(give_up_privileges()))
    if "--preload" in sys.argv:  # as far as nobody waits
        for load in (load_readers, load_models):
            if not _is_asked(control):
                load()
    while True:
        line, pipes = _request(control)
        if not line:
            return 0
        kind = json.loads(line)["kind"]
        load_readers()
        if kind == "inspect":
            load_models()
        process_id = os.fork()
        if process_id == 0:
            control.close()
            _answer(line, *pipes)
        for pipe in pipes:
            os.close(pipe)
        _say(control, {"begun": process_id})
        _, status = os.waitpid(process_id, 0)
        _say(control, {"status": os.waitstatus_to_exitcode(status)})


def _answer(line: bytes, answers: int, words: int) -> None:
    """In the fork: parse the upload, say what it is, end."""
    try:
        from workers.sandbox.performing import answer_to
        from workers.sandbox.requests import REQUEST

        die_with_parent()
        for standard, target in ((0, os.open(os.devnull, os.O_RDONLY)), (1, words), (2, words)):
            os.dup2(target, standard)
        request = REQUEST.validate_json(line)
        os.chdir(request.folder)
        confine(request.bounds, readable=request.inputs, writable=[request.folder])
        answer = memoryview(answer_to(request).encode())
        while answer:
            answer = answer[os.write(answers, answer) :]
        sys.stderr.flush()
        os._exit(0)  # what was parsed is not worth tidying up after
    except BaseException:
        sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
        os._exit(1)


def _request(control: socket.socket) -> tuple[bytes, list[int]]:
    """The next line, and the pipes that come with its first byte."""
    data, pipes, _, _ = socket.recv_fds(control, PIECE_BYTES, PIPES)
    received = bytearray(data)
    while received and not received.endswith(b"\n"):
        received += (piece := control.recv(PIECE_BYTES))
        if not piece:
            return b"", []
    return bytes(received), pipes


def _say(control: socket.socket, what: object) -> None:
    control.sendall(json.dumps(what).encode() + b"\n")


def _is_asked(control: socket.socket) -> bool:
    """Whether there is something to read: a request, or the end of all."""
    return bool(select.select([control], [], [], 0)[0])


if __name__ == "__main__":
    sys.exit(main())
