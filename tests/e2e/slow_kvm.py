#!/usr/bin/env python3
"""slow_kvm.py - a KVM without hardware behind it, where a stock kernel crawls.

`auto` and `hostel doctor` keep away from it; whoever asks for it is told in a
sentence at once, and can leave: by --timeout, by Ctrl-], by a signal.
Environment: as lib.sh.  Skipped where KVM works, or is not there.
"""
import os
import pty
import select
import subprocess
import sys
import time

HOSTEL = os.environ["HOSTEL"]
TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
KERNEL = os.environ.get("KERNELS", TOP + "/.cache/guest") + "/vmlinuz-amd64"
RUN = [HOSTEL, "run", "--engine", "kvm", "--kernel", KERNEL, "--append",
       "console=ttyS0 panic=-1"]
SOON = 20  # seconds, on a busy machine

failures = 0


def ok(what, good):
    global failures
    if not good:
        failures += 1
        print("FAILED:", what)


def doctor(*options):
    return subprocess.run([HOSTEL, "doctor"] + list(options),
                          stdout=subprocess.PIPE).stdout.decode()


def warned(text):
    return b"no hardware behind it" in text and b"--engine auto" in text


def test_timeout():
    start = time.monotonic()
    run = subprocess.run(RUN + ["--timeout", "2"], stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    ok("--timeout: status", run.returncode == 124)
    ok("--timeout: in time", time.monotonic() - start < SOON)
    ok("one sentence says why it is slow: %r" % run.stderr,
       warned(run.stderr) and run.stderr.count(b"\n") == 1)


def test_keys():
    """Ctrl-] at a terminal, once the sentence is there."""
    pid, master = pty.fork()
    if pid == 0:
        os.execv(HOSTEL, RUN)
    seen, end = b"", time.monotonic() + SOON
    while not warned(seen) and time.monotonic() < end:
        if select.select([master], [], [], 0.2)[0]:
            seen += os.read(master, 4096)
    ok("the sentence comes at once: %r" % seen, warned(seen))
    time.sleep(1)
    os.write(master, b"\x1d")
    ok("Ctrl-] leaves", ended(pid) == 0)


def ended(pid):
    end = time.monotonic() + SOON
    while time.monotonic() < end:
        gone, status = os.waitpid(pid, os.WNOHANG)
        if gone:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.1)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return None


def test_signal():
    run = subprocess.Popen(RUN, stdin=subprocess.DEVNULL,
                           stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)
    time.sleep(1)
    run.terminate()
    ok("SIGTERM ends it", ended(run.pid) == 143)


report = doctor()
if "kvm          slow: " not in report or not os.path.exists(KERNEL):
    print("SKIPPED: no such KVM here, or no kernel")
    sys.exit(77)
ok("auto is another", doctor("--auto").strip() == "translator")
for test in (test_timeout, test_keys, test_signal):
    test()
print("failures:", failures)
sys.exit(failures > 0)
