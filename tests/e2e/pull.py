"""hostel image pull: interrupted, resumed, refused, two at once."""
import hashlib
import http.server
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

HOSTEL = os.environ["HOSTEL"]
SIZE = 4 << 20
HALF = SIZE // 2


class Server(http.server.ThreadingHTTPServer):
    """Holds back what comes after `stop` bytes until told."""

    def __init__(self, ranges, disk, sums):
        super().__init__(("127.0.0.1", 0), Handler)
        self.ranges, self.disk, self.sums = ranges, disk, sums
        self.stop, self.go, self.asked = SIZE, threading.Event(), []
        threading.Thread(target=self.serve_forever, daemon=True).start()
        self.url = "http://127.0.0.1:%d/disk.raw" % self.server_address[1]


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        server, data, start = self.server, self.server.disk, 0
        if self.path == "/SHA256SUMS":
            data = server.sums
        elif self.path != "/disk.raw":
            return self.send_error(404)
        wanted = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if wanted and server.ranges and int(wanted[1]):
            start = int(wanted[1])
            self.send_response(206)
            self.send_header("Content-Range", "bytes %d-%d/%d" %
                             (start, len(data) - 1, len(data)))
        else:
            self.send_response(200)
        if data is server.disk:
            server.asked.append(start)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        try:
            stop = server.stop
            self.wfile.write(data[start:stop])
            if stop < len(data):
                server.go.wait(60)
                self.wfile.write(data[max(start, stop):])
        except OSError:
            pass


def start(server, name, *options):
    return subprocess.Popen(
        [HOSTEL, "image", "pull", server.url, "--name", name, *options],
        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def pull(server, name, *options):
    p = start(server, name, *options)
    said = p.communicate(timeout=60)[1]
    return p.returncode, said


def files(sub):
    top = os.path.join(os.environ["HOSTEL_HOME"], "images", sub)
    return [os.path.join(top, f) for f in os.listdir(top)] \
        if os.path.exists(top) else []


def wait_for(what):
    end = time.monotonic() + 30
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


def interrupted_by(sig, server, name):
    server.stop = HALF
    p = start(server, name)
    wait_for(lambda: any(os.path.getsize(f) == HALF
                         for f in files("partial")))
    p.send_signal(sig)
    p.communicate(timeout=60)
    assert p.returncode == -sig, p.returncode
    server.stop = SIZE


def check_store(names):
    assert sorted(os.path.basename(f) for f in files("names")) == \
        sorted(n + ".json" for n in names)
    assert files("partial") == [] and files("tmp") == []


def resumes(server):
    for sig in (signal.SIGINT, signal.SIGTERM):
        interrupted_by(sig, server, "a")
        assert files("tmp") == [] and files("names") == []
    interrupted_by(signal.SIGKILL, server, "a")
    server.asked.clear()
    status, said = pull(server, "a")
    assert status == 0, said
    assert server.asked == [HALF], server.asked
    check_store(["a"])


def starts_anew(server):
    """The server knows no ranges."""
    interrupted_by(signal.SIGINT, server, "a")
    status, said = pull(server, "a")
    assert status == 0, said
    check_store(["a"])


def waits_for_another(server):
    server.stop = HALF
    first = start(server, "a")
    wait_for(lambda: any(os.path.getsize(f) == HALF
                         for f in files("partial")))
    second = start(server, "b")
    time.sleep(0.3)
    server.stop = SIZE
    server.go.set()
    for p in (first, second):
        said = p.communicate(timeout=60)[1]
        assert p.returncode == 0, said
    check_store(["a", "b"])


def is_not_fooled(server):
    """What was kept is of another file."""
    interrupted_by(signal.SIGINT, server, "a")
    with open(files("partial")[0], "r+b") as f:
        f.write(b"something else")
    status, said = pull(server, "a")
    assert status == 0, said
    check_store(["a"])


def refuses(server):
    status, said = pull(server, "a", "--sha256", "0" * 64)
    assert status == 125 and "checksum" in said, said
    status, said = pull(server, "a", "--sha256", "0" * 63)
    assert status == 125 and "64 hexadecimal digits" in said, said
    server.shutdown()
    server.server_close()
    status, said = pull(server, "a")
    assert status == 125 and "onnect" in said, said
    check_store([])


def main():
    if not shutil.which("curl"):
        print("skipped: there is no curl")
        return 77
    random.seed(1)
    disk = bytearray(random.randbytes(SIZE))
    disk[510:512] = b"\x55\xaa"
    sums = (hashlib.sha256(disk).hexdigest() + "  disk.raw\n").encode()
    for case in (resumes, starts_anew, waits_for_another, is_not_fooled,
                 refuses):
        with tempfile.TemporaryDirectory() as home:
            os.environ["HOSTEL_HOME"] = home
            case(Server(case is not starts_anew, bytes(disk), sums))
        print("ok:", case.__name__)
    return 0


sys.exit(main())
