"""Two pulls of one file at once, from a server on the loopback that takes its time."""

from __future__ import annotations

import hashlib
import http.server
import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.knife import command, forked, place

DATA = bytes(range(256)) * 1200
SUM = hashlib.sha256(DATA).hexdigest()
#: The command; ``{url}`` is the server's.
PULL = ("pull", "{url}/x.safetensors", "--into", ".")


class Slow(http.server.BaseHTTPRequestHandler):
    """Serves one file, with ranges, a few pieces a second."""

    protocol_version = "HTTP/1.1"
    pause = 0.0

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        start = int(asked[1]) if asked and int(asked[1]) < len(DATA) else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(DATA) - 1}/{len(DATA)}")
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", str(len(DATA) - start))
        self.end_headers()
        for at in range(start, len(DATA), 32_768):
            self.wfile.write(DATA[at : at + 32_768])
            time.sleep(self.pause)


class Server(http.server.ThreadingHTTPServer):
    """One that is not surprised when somebody is killed."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@contextmanager
def serving(pause: float = 0.0) -> Iterator[str]:
    """A server on the loopback; its address."""
    http_server = Server(("127.0.0.1", 0), type("Own", (Slow,), {"pause": pause}))
    threading.Thread(target=http_server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{http_server.server_port}"
    finally:
        http_server.shutdown()
        http_server.server_close()


def pair(url: str, root: Path, options: Sequence[str], gap: float) -> list[str]:
    """Two pulls of one file at once, the second a moment later; what is wrong."""
    args = [arg.format(url=url) for arg in (*PULL, *options)]
    with place(root) as work:
        ended: list[int] = []

        def second() -> None:
            ended.append(forked(lambda: command(args), root.with_suffix(".log"))[0])

        both = [threading.Thread(target=second) for _ in range(2)]
        for one in both:
            one.start()
            time.sleep(gap)
        for one in both:
            one.join()
        file = work / "x.safetensors"
        right = file.is_file() and file.read_bytes() == DATA
        left = sorted(path.name for path in work.iterdir() if path != file)
        return [] if right and ended == [0, 0] and not left else [f"exit codes {ended}, right {right}, left {left}"]
