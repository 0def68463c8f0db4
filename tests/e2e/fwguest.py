"""fwguest.py - a guest that is talked to by its serial port; imported.

Environment: as lib.sh.
"""
import os
import re
import select
import signal
import subprocess
import time

HOSTEL = os.environ["HOSTEL"]
ENGINE = os.environ.get("ENGINE", "auto")
LIMIT = float(os.environ.get("LIMIT", "120"))
SKIP = 77
# SeaBIOS sets the cursor now and then, also within a word.
CURSOR = re.compile(rb"\x1b\[\d*;\d*H")

failures = []


def ok(what, good):
    if not good:
        failures.append(what)
        print("FAILED:", what)


class Guest:
    """A guest whose console is a pair of pipes."""

    def __init__(self, *args):
        self.seen = b""
        self.process = subprocess.Popen(
            [HOSTEL, "run", "--engine", ENGINE, "--timeout", str(LIMIT)] +
            list(args), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, bufsize=0)

    def wait_for(self, text, limit=LIMIT):
        """Reads until the guest has said it; forgets what came before."""
        end = time.monotonic() + limit
        out = self.process.stdout
        while text not in self.seen:
            left = end - time.monotonic()
            more = b""
            if left > 0 and select.select([out], [], [], left)[0]:
                more = os.read(out.fileno(), 65536)
            if not more:
                ok("%r came, not %r" % (self.seen[-400:], text), False)
                return False
            self.seen = CURSOR.sub(b"", self.seen + more)
        self.seen = self.seen[self.seen.index(text) + len(text):]
        return True

    def type(self, keys):
        # As fast as a person: firmware polls its serial port.
        for key in keys:
            os.write(self.process.stdin.fileno(), bytes([key]))
            time.sleep(0.01)

    def end(self, how=signal.SIGTERM):
        """Its exit status; how: None if it ends by itself."""
        if how:
            self.process.send_signal(how)
        try:
            self.process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            ok("the guest ended", False)
            self.process.kill()
            self.process.communicate()
        return self.process.returncode
