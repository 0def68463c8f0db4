#!/usr/bin/env python3
"""terminal.py - a person at a terminal: raw while the guest runs, as before after.

Uses the guest "monitor", which echoes what it does not understand.  Same
environment as lib.sh.
"""
import fcntl
import os
import pty
import select
import signal
import sys
import termios
import time

HOSTEL = os.environ["HOSTEL"]
MONITOR = os.environ["GUESTS"] + "/monitor"
ENGINE = os.environ.get("ENGINE", "auto")
LIMIT = float(os.environ.get("LIMIT", "60"))

failures = 0


def ok(what, good):
    global failures
    if not good:
        failures += 1
        print("FAILED:", what)


class Terminal:
    """hostel in the foreground of a terminal of its own."""

    def __init__(self, *args):
        self.master, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        self.seen = b""
        self.pid = os.fork()
        if self.pid == 0:
            os.setsid()
            fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)
            for fd in range(3):
                os.dup2(self.slave, fd)
            os.closerange(3, 100)
            os.execv(HOSTEL, ["hostel", "run", "--engine", ENGINE,
                              "--kernel", MONITOR] + list(args))
        self.wait_for(b"monitor ready\r\n")

    def wait_for(self, text):
        """Reads until the guest has said it; forgets what came before."""
        end = time.monotonic() + LIMIT
        while text not in self.seen:
            left = end - time.monotonic()
            if left < 0 or not select.select([self.master], [], [], left)[0]:
                ok("%r came, not %r" % (text, self.seen), False)
                return
            self.seen += os.read(self.master, 4096)
        self.seen = self.seen[self.seen.index(text) + len(text):]

    def type(self, keys):
        os.write(self.master, keys)

    def raw(self):
        return not termios.tcgetattr(self.slave)[3] & termios.ICANON

    def status(self):
        """Waits for the end; the exit status."""
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            # Writers to a terminal that nobody reads would wait.
            if select.select([self.master], [], [], 0.02)[0]:
                self.seen += os.read(self.master, 4096)
        ok("hostel ended", False)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        return None

    def restored(self):
        return termios.tcgetattr(self.slave) == self.before

    def close(self):
        os.close(self.master)
        os.close(self.slave)


def test_keys():
    t = Terminal("--append", ":")
    ok("raw while the guest runs", t.raw())
    t.type(b"abc\x03\x1a\x04")
    t.wait_for(b"abc\x03\x1a\x04")
    t.type(b"x\r")
    t.wait_for(b"x\r")
    ok("no echo but the guest's", t.seen == b"")
    t.type(b"yz\x1dnot for the guest")
    ok("Ctrl-] leaves", t.status() == 0)
    ok("as before after Ctrl-]", t.restored())
    ok("what followed it was not sent", b"not" not in t.seen)
    t.close()


def test_exit():
    t = Terminal("--append", ":")
    t.type(b"3")
    ok("the guest's status", t.status() == 7)
    ok("as before after the guest's end", t.restored())
    t.close()


def test_signals():
    for number, status in ((signal.SIGTERM, 143), (signal.SIGINT, 130),
                           (signal.SIGHUP, 129), (signal.SIGQUIT, 131)):
        t = Terminal("--append", ":L")
        os.kill(t.pid, number)
        ok("%s: status" % number.name, t.status() == status)
        ok("%s: as before" % number.name, t.restored())
        t.close()


def test_timeout():
    t = Terminal("--append", ":L", "--timeout", "0.5", "--stats")
    ok("--timeout", t.status() == 124)
    ok("as before after --timeout", t.restored())
    ok("--stats starts a line", b"{" in t.seen and b"}\r\n" in t.seen)
    t.close()


def test_continue():
    t = Terminal("--append", ":")
    os.kill(t.pid, signal.SIGSTOP)
    # What a shell does with a stopped job's terminal.
    termios.tcsetattr(t.slave, termios.TCSANOW, t.before)
    os.kill(t.pid, signal.SIGCONT)
    end = time.monotonic() + LIMIT
    while not t.raw() and time.monotonic() < end:
        time.sleep(0.01)
    ok("raw again after SIGCONT", t.raw())
    t.type(b"4")
    ok("and heard", t.status() == 9)
    t.close()


def test_hangup():
    t = Terminal("--append", ":L")
    t.close()
    ok("a terminal that is gone ends the guest", hung_up(t.pid))


def hung_up(pid):
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return True
        time.sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    return False


for test in (test_keys, test_exit, test_signals, test_timeout, test_continue,
             test_hangup):
    test()
print("failures:", failures)
sys.exit(failures > 0)
