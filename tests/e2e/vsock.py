#!/usr/bin/env python3
"""vsock.py - programs of a stock kernel's guest and of the host talk over vsock.

    vsock.py [pci|packed|mmio]

Both directions, 100 MiB each with a checksum, many connections, half-close,
a slow reader, nobody there, and saving: connections are reset, listeners stay.
Same environment as lib.sh.
"""
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

HOSTEL = os.environ["HOSTEL"]
GUESTS = os.environ["GUESTS"]
ENGINE = os.environ.get("ENGINE", "auto")
LIMIT = float(os.environ.get("LIMIT", "150"))
TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
KERNELS = os.environ.get("KERNELS", TOP + "/.cache/guest")
BIG = 100 << 20
MODE = sys.argv[1] if len(sys.argv) > 1 else "pci"

SCRIPT = r"""
modprobe vmw_vsock_virtio_transport
head -c 1m /bin/busybox >/tmp/one
for i in $(seq 100); do cat /tmp/one; done >/tmp/big
echo "T sum $(sha256sum </tmp/big | cut -c 1-64)"
echo "T cid $(vsock cid)"
vsock listen 1000 cat &
vsock listen 1001 "sha256sum | cut -c 1-64" &
vsock listen 1002 "cat /tmp/big" &
vsock listen 1003 "echo to you; exec >&-; sleep 1000" &
sleep 1
echo "T packed $(cut -c 35 /sys/bus/virtio/drivers/vmw_vsock_virtio_transport/virtio*/features)"
vsock connect 2 1 </dev/null 2>/dev/null || echo "T nobody refused"
vsock connect 5 2000 </dev/null 2>/dev/null || echo "T stranger refused"
echo "T answer $(echo hello | vsock connect 2 2000)"
vsock connect 2 2001 </tmp/big | sed 's/^/T sent /'
echo "T many $(vsock many 2 2002 300)"
(sleep 0.3; echo late) | vsock connect 2 2003 | sed 's/^/T half /'
echo "T ready"
while read -r line && [ "$line" != end ]; do
	echo "T heard $line"
done
"""

failures = 0


def ok(what, good):
    global failures
    if not good:
        failures += 1
        print("FAILED:", what, flush=True)


def is_(what, got, want):
    ok("%s: %r, not %r" % (what, got, want), got == want)


class Guest:
    def __init__(self, *args):
        self.lines = []
        self.more = threading.Condition()
        self.ended = False
        self.process = subprocess.Popen(
            [HOSTEL, "run", "--engine", ENGINE] + list(args),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            with self.more:
                self.lines.append(line.decode("latin-1").rstrip())
                self.more.notify_all()
        with self.more:
            self.ended = True
            self.more.notify_all()

    def value(self, name):
        """What the guest says of it, once it has."""
        start = "T " + name
        end = time.monotonic() + LIMIT
        with self.more:
            while True:
                for line in self.lines:
                    if line.startswith(start):
                        return line[len(start):].strip()
                if self.ended or not self.more.wait(end - time.monotonic()):
                    print("\n".join(self.lines[-15:]))
                    return None

    def say(self, text):
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()

    def end(self):
        if not self.process.stdin.closed:
            self.process.stdin.close()
        try:
            self.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        return self.process.returncode, self.process.stderr.read().decode()


class Listener:
    """Runs serve(connection) in a thread for each that comes."""

    def __init__(self, path, serve, backlog=4):
        self.serve = serve
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(path)
        self.socket.listen(backlog)
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            one, _ = self.socket.accept()
            threading.Thread(target=self.one, args=(one,),
                             daemon=True).start()

    def one(self, connection):
        with connection:
            self.serve(connection)


def read_all(s):
    data = hashlib.sha256()
    n = 0
    while True:
        piece = s.recv(1 << 18)
        if not piece:
            return n, data.hexdigest()
        data.update(piece)
        n += len(piece)


def echo(s):
    while True:
        data = s.recv(65536)
        if not data:
            return
        s.sendall(data)


def send_sum(s):
    """A slow reader at first, then the sum of it all."""
    time.sleep(1)
    s.sendall(("%d %s\n" % read_all(s)).encode())


def ends_first(s):
    """Has nothing to say, but listens."""
    s.sendall(b"early\n")
    s.shutdown(socket.SHUT_WR)
    ends_first.got = read_all_bytes(s)
    ends_first.done.set()


ends_first.done = threading.Event()


def read_all_bytes(s):
    data = b""
    while True:
        piece = s.recv(65536)
        if not piece:
            return data
        data += piece


def connect(path, port):
    """A connection to the guest's port; None: nobody is there."""
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(LIMIT)
    s.connect(path)
    try:
        s.sendall(b"CONNECT %d\n" % port)
        line = b""
        while not line.endswith(b"\n"):
            piece = s.recv(1)
            if not piece:
                return None
            line += piece
    except ConnectionError:
        return None
    ok("OK and a port: %r" % line, line.startswith(b"OK "))
    return s


def from_host(path, guest):
    """The guest's listeners."""
    s = connect(path, 1000)
    s.sendall(b"hello")
    is_("an echo", s.recv(100), b"hello")
    s.shutdown(socket.SHUT_WR)
    is_("its end", s.recv(100), b"")
    ok("nobody at a port", connect(path, 77) is None)
    for line in b"CONNECT\n", b"CONNECT x\n", b"CONNECT 4294967296\n", \
            b"GET / HTTP/1.0\n", b"CONNECT 99999999999999999999999999999":
        s = socket.socket(socket.AF_UNIX)
        s.connect(path)
        s.sendall(line)
        try:
            is_("no such wish: %r" % line, s.recv(10), b"")
        except ConnectionError:
            pass

    big = guest.value("sum")
    s = connect(path, 1002)
    time.sleep(1)  # a slow reader
    is_("from the guest", read_all(s), (BIG, big))
    s = connect(path, 1001)
    block = bytes(range(256)) * 4096
    want = hashlib.sha256()
    for _ in range(BIG // len(block)):
        s.sendall(block)
        want.update(block)
    s.shutdown(socket.SHUT_WR)
    is_("to the guest, half-closed", read_all_bytes(s).decode().strip(),
        want.hexdigest())

    many = [connect(path, 1000) for _ in range(100)]
    for i, s in enumerate(many):
        s.sendall(b"%d" % i)
    is_("many", [s.recv(10) for s in reversed(many)],
        [b"%d" % i for i in reversed(range(100))])
    s = many[0]
    for each in many[1:]:
        each.close()
    return s


def move(path, guest, state, live, name):
    """Saved, and restored: who was connected hears of it."""
    subprocess.run([HOSTEL, "save", name, state], check=True)
    guest.process.wait()
    is_("the socket is removed", os.path.exists(path), False)
    is_("a connection ends with its guest", live.recv(10), b"")
    guest = Guest("--restore", state)
    guest.say("again")
    is_("it goes on", guest.value("heard again"), "")
    s = connect(path, 1000)
    s.sendall(b"back")
    is_("its listeners stay", s.recv(10), b"back")
    return guest


def refusals(tmp):
    """One sentence each, and nothing is touched."""
    def run(arg):
        p = subprocess.run([HOSTEL, "run", "--kernel", GUESTS + "/monitor",
                            "--append", ":0", "--vsock", arg],
                           capture_output=True, text=True, timeout=LIMIT)
        return p.returncode, p.stderr

    live = socket.socket(socket.AF_UNIX)
    live.bind(tmp + "/live")
    live.listen(1)
    status, text = run("path=%s/live,cid=3" % tmp)
    is_("a live socket", (status, "in use" in text), (125, True))
    ok("it stays", os.path.exists(tmp + "/live"))
    with open(tmp + "/file", "w") as f:
        f.write("x")
    status, text = run("path=%s/file" % tmp)
    is_("a file", (status, "not a socket" in text), (125, True))
    for arg, word in (("cid=3", "path is missing"),
                      ("path=%s/x,cid=2" % tmp, "context ID"),
                      ("path=%s/x,cid=4294967295" % tmp, "context ID"),
                      ("path=%s/no/x" % tmp, "No such file"),
                      ("path=" + "x" * 100, "at most"),
                      ("/tmp/x", "no key")):
        status, text = run(arg)
        is_(arg, (status, word in text, text.count("\n")), (125, True, 1))
    live.close()
    status, text = run("path=%s/live" % tmp)
    is_("a stale socket", (status, text), (1, ""))
    is_("and it is gone after", os.path.exists(tmp + "/live"), False)


def main(tmp):
    os.environ["HOSTEL_RUNTIME_DIR"] = tmp + "/run"
    if not os.path.exists(KERNELS + "/modules-amd64.cpio.gz"):
        print("SKIPPED: no modules in %s; run tools/guest.sh" % KERNELS)
        sys.exit(77)
    with open(tmp + "/script", "w") as f:
        f.write(SCRIPT)
    subprocess.run(["sh", TOP + "/tools/initramfs.sh", "add", tmp + "/initrd",
                    KERNELS + "/initramfs.cpio.gz",
                    "hostel/test=" + tmp + "/script",
                    "bin/vsock=" + GUESTS + "/vsock"], check=True)
    with open(tmp + "/initrd", "ab") as to, \
            open(KERNELS + "/modules-amd64.cpio.gz", "rb") as f:
        shutil.copyfileobj(f, to)
    path = tmp + "/v"
    name = "vsock%d" % os.getpid()
    Listener(path + "_2000", echo)
    Listener(path + "_2001", send_sum)
    Listener(path + "_2002", echo, 1)
    Listener(path + "_2003", ends_first)
    more = {"pci": ("", []), "packed": (",packed", []),
            "mmio": ("", ["--virtio", "mmio"])}[MODE]
    guest = Guest("--name", name, "--kernel", KERNELS + "/vmlinuz-amd64",
                  "--initrd", tmp + "/initrd", "--memory", "512M", "--cpus",
                  "2", "--append", "console=ttyS0 quiet hostel.script=test "
                  "hostel.modules=virtio_mmio",
                  "--vsock", "cid=7,path=%s%s" % (path, more[0]), *more[1])
    is_("its context ID", guest.value("cid"), "7")
    is_("packed queues", guest.value("packed"), "01"[MODE == "packed"])
    is_("nobody listens", guest.value("nobody"), "refused")
    is_("another CID", guest.value("stranger"), "refused")
    is_("an answer", guest.value("answer"), "hello")
    is_("to a slow reader", guest.value("sent"),
        "%d %s" % (BIG, guest.value("sum")))
    is_("many to a backlog of one", guest.value("many"), "300")
    is_("what comes after a half-close", guest.value("half"), "early")
    ok("it ends", ends_first.done.wait(LIMIT))
    is_("and goes out", ends_first.got, b"late\n")
    is_("ready", guest.value("ready"), "")
    live = from_host(path, guest)
    guest = move(path, guest, tmp + "/state", live, name)
    guest.say("end")
    is_("ends well", guest.end(), (0, ""))
    is_("and removes its socket", os.path.exists(path), False)
    if MODE == "pci":
        refusals(tmp)


with tempfile.TemporaryDirectory() as directory:
    main(directory)
print("%d failed" % failures)
sys.exit(failures != 0)
