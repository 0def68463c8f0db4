#!/usr/bin/env python3
"""hvc_size.py - a stock kernel's virtio console has its terminal's size.

At the start, after the terminal has changed, and after a restore on another
one.  Same environment as lib.sh.
"""
import fcntl
import os
import pty
import select
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import time

HOSTEL = os.environ["HOSTEL"]
ENGINE = os.environ.get("ENGINE", "auto")
LIMIT = float(os.environ.get("LIMIT", "60"))
TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
KERNELS = os.environ.get("KERNELS", TOP + "/.cache/guest")

SCRIPT = """
exec </dev/hvc0 >/dev/hvc0 2>&1
stty -echo
while true; do
	now=$(stty size)
	[ "$now" = "$was" ] || echo "T size $now."
	was=$now
	sleep 0.1
done
"""

failures = 0


def ok(what, good):
    global failures
    if not good:
        failures += 1
        print("FAILED:", what)


class Terminal:
    """hostel in the foreground of a terminal of this size."""

    def __init__(self, rows, columns, *args):
        self.master, self.slave = pty.openpty()
        self.resize(rows, columns)
        self.seen = b""
        self.pid = os.fork()
        if self.pid == 0:
            os.setsid()
            fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)
            for fd in range(3):
                os.dup2(self.slave, fd)
            os.closerange(3, 100)
            os.execv(HOSTEL, ["hostel", "run", "--engine", ENGINE] +
                     list(args))

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ,
                    struct.pack("HHHH", rows, columns, 0, 0))

    def wait_for(self, text):
        end = time.monotonic() + LIMIT
        while text not in self.seen:
            left = end - time.monotonic()
            if left < 0 or not select.select([self.master], [], [], left)[0]:
                ok("%r came, not %r" % (text, self.seen[-300:]), False)
                return
            self.seen += os.read(self.master, 4096)
        self.seen = self.seen[self.seen.index(text) + len(text):]

    def leave(self):
        os.write(self.master, b"\x1d")

    def wait(self):
        """Its status; what it still says is read, lest it waits for us."""
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            if select.select([self.master], [], [], 0.05)[0]:
                os.read(self.master, 4096)


def main(tmp):
    os.environ["HOSTEL_RUNTIME_DIR"] = tmp + "/run"
    if not os.path.exists(KERNELS + "/modules-amd64.cpio.gz"):
        print("SKIPPED: no modules in %s; run tools/guest.sh" % KERNELS)
        sys.exit(77)
    with open(tmp + "/script", "w") as f:
        f.write(SCRIPT)
    subprocess.run(["sh", TOP + "/tools/initramfs.sh", "add", tmp + "/initrd",
                    KERNELS + "/initramfs.cpio.gz",
                    "hostel/test=" + tmp + "/script"], check=True)
    with open(tmp + "/initrd", "ab") as to, \
            open(KERNELS + "/modules-amd64.cpio.gz", "rb") as f:
        shutil.copyfileobj(f, to)
    name = "size%d" % os.getpid()
    t = Terminal(43, 132, "--console", "virtio", "--name", name, "--memory",
                 "256M", "--kernel", KERNELS + "/vmlinuz-amd64", "--initrd",
                 tmp + "/initrd", "--append",
                 "console=hvc0 quiet hostel.script=test")
    t.wait_for(b"T size 43 132.")
    t.resize(50, 100)
    t.wait_for(b"T size 50 100.")
    t.resize(0, 0)  # a terminal that does not know: as before
    t.resize(24, 80)
    t.wait_for(b"T size 24 80.")
    subprocess.run([HOSTEL, "save", name, tmp + "/state"], check=True)
    ok("saved", t.wait() == 0)
    t = Terminal(30, 90, "--restore", tmp + "/state")
    t.wait_for(b"T size 30 90.")
    t.leave()
    ok("left", t.wait() == 0)


with tempfile.TemporaryDirectory() as directory:
    main(directory)
print("%d failed" % failures)
sys.exit(failures != 0)
