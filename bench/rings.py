#!/usr/bin/env python3
"""rings.py - split and packed virtqueues: what a request costs.

    ROUNDS=5  ENGINE=translator  BUILD=build

One guest with two disks that differ in their queues alone, and two cards; the
same fixed work by turns on each, and the processor time that the guest's
process took for it (a busy host changes that little).  The least of all rounds
counts.  Needs fio and iperf3 on the host; guests get the host's programs.
"""
import os
import shutil
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(TOP, os.environ.get("BUILD", "build"))
GUEST = os.environ.get("HOSTEL_GUEST_DIR", TOP + "/.cache/guest")
ROUNDS = int(os.environ.get("ROUNDS", "5"))
ENGINE = os.environ.get("ENGINE", "translator")
TICK = os.sysconf("SC_CLK_TCK")

# Of disks: fio's pattern, block, depth, requests.
DISK = {"read, 4 KiB, 8 at a time": ("randread", "4k", 8, 50000),
        "read, 4 KiB, one at a time": ("randread", "4k", 1, 30000),
        "write, 4 KiB, 8 at a time": ("randwrite", "4k", 8, 50000),
        "read, 128 KiB, 8 at a time": ("read", "128k", 8, 10000)}
# Of cards: iperf3's words, units (what is counted, how many).
CARD = {"send 1 GiB by TCP": ("-n 1G", 1024),
        "receive 1 GiB by TCP": ("-R -n 1G", 1024),
        "send 32 MiB by UDP, 1400 bytes each":
            ("-u -b 0 -l 1400 -n 32M", 32 * 1048576 // 1400)}

SCRIPT = """
ip link set lo up
n=0
for which in split packed; do
	ip link set eth$n up
	n=$((n + 1))
done
while read -r what which words; do
	case $what in
	disk)
		[ $which = split ] && disk=vda || disk=vdb
		fio --name=x --filename=/dev/$disk --direct=1 --randseed=1 \\
			--ioengine=libaio --gtod_reduce=1 $words >/tmp/out 2>&1
		;;
	card)
		[ $which = split ] && card=eth0 || card=eth1
		ip addr flush dev eth0
		ip addr flush dev eth1
		ip addr add 10.0.2.15/24 dev $card
		ping -c 1 -w 2 10.0.2.2 >/dev/null
		iperf3 -c 10.0.2.2 $words >/tmp/out 2>&1 </dev/null
		;;
	end)
		exit
		;;
	esac
	[ $? = 0 ] || cat /tmp/out
	echo "DONE"
done
"""


def initrd(tmp):
    root = tmp + "/root"
    os.makedirs(root + "/bin")
    os.makedirs(root + "/hostel")
    for name in "fio", "iperf3":
        path = shutil.which(name)
        if not path:
            sys.exit("rings.py: needs fio and iperf3: apt-get install them")
        shutil.copy(path, root + "/bin/" + name)
        for word in subprocess.run(["ldd", path], capture_output=True,
                                   text=True).stdout.split():
            if word.startswith("/"):
                os.makedirs(root + os.path.dirname(word), exist_ok=True)
                shutil.copy(word, root + word)
    with open(root + "/hostel/rings", "w") as f:
        f.write(SCRIPT)
    out = tmp + "/initrd"
    with open(out, "wb") as f:
        for part in "initramfs.cpio.gz", "modules-cloud-amd64.cpio.gz":
            with open(GUEST + "/" + part, "rb") as g:
                shutil.copyfileobj(g, f)
        f.write(b"\0" * (-f.tell() % 512))
        f.flush()
        files = subprocess.run(["find", "."], cwd=root, check=True,
                               capture_output=True).stdout
        subprocess.run(["busybox", "cpio", "-o", "-H", "newc", "-R", "0:0"],
                       cwd=root, input=files, check=True, stdout=f,
                       stderr=subprocess.DEVNULL)
    return out


class Guest:
    def __init__(self, tmp, port):
        for name in "a", "b":
            with open(tmp + "/" + name, "wb") as f:
                for _ in range(64):
                    f.write(os.urandom(1 << 20))
        self.process = subprocess.Popen(
            [BUILD + "/hostel", "run", "--engine", ENGINE, "--memory", "512M",
             "--kernel", GUEST + "/vmlinuz-cloud-amd64", "--initrd",
             initrd(tmp), "--append",
             "console=ttyS0 quiet hostel.script=rings",
             "--disk", tmp + "/a,format=raw",
             "--disk", tmp + "/b,format=raw,packed",
             "--net", "nat,loopback", "--net", "nat,loopback,packed"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = port

    def tree(self):
        """The process, and its children: whichever is the guest."""
        pids = [self.process.pid]
        for pid in pids:
            with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
                pids += [int(word) for word in f.read().split()]
        return pids

    def ticks(self):
        n = 0
        for pid in self.tree():
            with open("/proc/%d/stat" % pid) as f:
                fields = f.read().rsplit(")", 1)[1].split()
            n += int(fields[11]) + int(fields[12])
        return n / TICK

    def do(self, words):
        before = self.ticks()
        self.process.stdin.write(words + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("DONE"):
                return self.ticks() - before
            if not line.startswith(("disk ", "card ")):
                print(line.rstrip(), file=sys.stderr)
        sys.exit("rings.py: the guest has ended")


def work(guest):
    for name, (rw, bs, depth, count) in DISK.items():
        words = "--rw=%s --bs=%s --iodepth=%d --number_ios=%d --size=64M " \
            "--io_size=64G" % (rw, bs, depth, count)
        yield name, "disk", words, count
    for name, (words, count) in CARD.items():
        yield name, "card", "-p %d %s" % (guest.port, words), count


def main():
    port = 20000 + os.getpid() % 20000
    server = subprocess.Popen(["iperf3", "-s", "-p", str(port)],
                              stdout=subprocess.DEVNULL)
    best = {}
    try:
        with tempfile.TemporaryDirectory() as tmp:
            guest = Guest(tmp, port)
            for number in range(ROUNDS):
                for name, what, words, count in work(guest):
                    for which in ("split", "packed")[::1 - number % 2 * 2]:
                        t = guest.do("%s %s %s" % (what, which, words))
                        key = name, which
                        best[key] = min(best.get(key, 1e9), t)
                        print(number + 1, which, name, "%.2f s" % t,
                              file=sys.stderr)
            guest.process.stdin.write("end\n")
            guest.process.stdin.close()
            guest.process.wait(30)
            print("| processor time, µs a request (TCP: a MiB) | split | "
                  "packed | split : packed |\n|---|--:|--:|--:|")
            for name, what, words, count in work(guest):
                split, packed = (best[name, w] / count * 1e6
                                 for w in ("split", "packed"))
                print("| %s | %.2f | %.2f | %.2f |"
                      % (name, split, packed, split / packed))
    finally:
        server.terminate()


main()
