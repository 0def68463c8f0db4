#!/usr/bin/env python3
"""clock.py [SECONDS] - the guest's clock against the host's.

The guest says when its clock's second changes; the host notes when it hears
that.  Delays (a busy host, the console) only ever make it late, so the least
of a few offsets counts.  Over SECONDS (default 5) the clocks may drift apart
by 50 ms at most.  Meanwhile the guest sleeps, and its process must do so too.

Same environment as lib.sh.
"""
import os
import subprocess
import sys
import tempfile
import time

SECONDS = int(sys.argv[1]) if len(sys.argv) > 1 else 5
TOP = os.path.dirname(os.path.abspath(__file__)) + "/../.."
HOSTEL = os.environ.get("HOSTEL", TOP + "/build/hostel")
KERNELS = os.environ.get("KERNELS", TOP + "/.cache/guest")
ENGINE = os.environ.get("ENGINE", "auto")
TICKS = 4
MAX_DRIFT = 0.050
# The kernel sets its clock by the RTC, which knows whole seconds only: it may
# be half a second off from the start, on any machine.
MAX_OFFSET = 0.7
MAX_IDLE = 0.03  # of one processor

GUEST = """
ticks()
{
	for i in $(seq %d); do
		now=$(date +%%s)
		while [ "$(date +%%s)" = "$now" ]; do :; done
		echo "T $1 $((now + 1))"
	done
}
ticks first
echo "T sleep 0"
sleep %d
echo "T woken 0"
ticks last
""" % (TICKS, SECONDS)


def process_seconds(pid):
    """CPU seconds of hostel's only child."""
    with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
        child = f.read().split()[0]
    with open("/proc/%s/stat" % child) as f:
        fields = f.read().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def run(initramfs):
    """The lines "T WHAT VALUE" with the time of their coming and CPU use."""
    process = subprocess.Popen(
        [HOSTEL, "run", "--engine", ENGINE, "--timeout", str(SECONDS + 300),
         "--kernel", KERNELS + "/vmlinuz-cloud-amd64", "--initrd", initramfs,
         "--append", "console=ttyS0 quiet hostel.script=clock"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    lines = []
    for line in process.stdout:
        now = time.time()
        words = line.decode(errors="replace").split()
        if len(words) == 3 and words[0] == "T":
            lines.append((words[1], int(words[2]), now,
                          process_seconds(process.pid)))
    process.wait()
    return process.returncode, lines


def main():
    if not os.path.exists(KERNELS + "/vmlinuz-cloud-amd64"):
        print("SKIPPED: no kernel in", KERNELS)
        return 77
    with tempfile.TemporaryDirectory() as tmp:
        with open(tmp + "/clock.sh", "w") as f:
            f.write(GUEST)
        subprocess.check_call(
            ["sh", TOP + "/tools/initramfs.sh", "add", tmp + "/initramfs",
             KERNELS + "/initramfs.cpio.gz", "hostel/clock=" + tmp +
             "/clock.sh"])
        status, lines = run(tmp + "/initramfs")

    offset = {}
    for what in ("first", "last"):
        offset[what] = min(now - value for w, value, now, _ in lines
                           if w == what)
    marks = {w: (now, cpu) for w, _, now, cpu in lines}
    slept = marks["woken"][0] - marks["sleep"][0]
    idle = (marks["woken"][1] - marks["sleep"][1]) / slept
    drift = offset["last"] - offset["first"]
    print("guest's clock behind the host's by %.1f ms, then %.1f ms: "
          "drift %.1f ms in %.1f s" %
          (offset["first"] * 1e3, offset["last"] * 1e3, drift * 1e3, slept))
    print("slept %.3f s for %d s, using %.2f %% of a processor" %
          (slept, SECONDS, idle * 100))
    good = (status == 0 and abs(drift) < MAX_DRIFT and idle < MAX_IDLE and
            abs(offset["last"]) < MAX_OFFSET)
    return 0 if good else 1


sys.exit(main())
