#!/usr/bin/env python3
"""firmware.py bios|uefi|builds - SeaBIOS and OVMF by themselves, without a disk.

Their screens on the serial port and as pictures, a reset from inside, and
UEFI variables that outlive reset and guest; then every build of them that is
installed.  Environment: as lib.sh.
"""
import glob
import os
import struct
import sys
import tempfile
import zlib

from fwguest import SKIP, Guest, failures, ok


def png_rows(path):
    """Width, and the rows of an RGB picture, each as bytes."""
    with open(path, "rb") as f:
        data = f.read()
    ok("%s is a PNG" % path, data[:8] == b"\x89PNG\r\n\x1a\n")
    at, width, packed = 8, 0, b""
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + size]
        if kind == b"IHDR":
            width = struct.unpack(">I", body[:4])[0]
        if kind == b"IDAT":
            packed += body
        at += 12 + size
    raw = zlib.decompress(packed)
    stride = 1 + 3 * width
    # Row filters are left in: all that is asked is what differs from zeros.
    return width, [raw[i + 1:i + stride] for i in range(0, len(raw), stride)]


def bios(tmp):
    text, picture = tmp + "/s.txt", tmp + "/s.png"
    guest = Guest("--firmware", "bios", "--screenshot", text)
    guest.wait_for(b"SeaBIOS")
    guest.wait_for(b"No bootable device.")
    ok("SIGTERM ends it", guest.end() == 143)
    with open(text) as f:
        screen = f.read().split("\n")
    ok("the screen says so too", "No bootable device." in screen)

    log = tmp + "/log"
    guest = Guest("--firmware", "bios", "--screenshot", picture,
                  "--firmware-log", log)
    guest.wait_for(b"No bootable device.")
    guest.end()
    width, rows = png_rows(picture)
    ok("text mode has 720 x 400 pixels", (width, len(rows)) == (720, 400))
    ok("its first line has letters", any(any(r) for r in rows[:16]))
    ok("its last line has none", not any(any(r) for r in rows[384:]))
    with open(log, errors="replace") as f:
        said = f.read()
    for what in ("Running on QEMU (q35)", "fw_cfg DMA interface supported",
                 "(via xsdt)", "Start SeaVGABIOS"):
        ok("the log has %r" % what, what in said)

    guest = Guest("--firmware", "bios", "--vga", "none", "--memory", "3G",
                  "--cpus", "2")
    guest.wait_for(b"No bootable device.")
    guest.end()


def shell(guest):
    """To the prompt of the UEFI shell."""
    if guest.wait_for(b"Press"):
        guest.type(b"\x1b")
    guest.wait_for(b"Shell>")


GUID = b"-guid 12345678-1234-1234-1234-123456789abc"


def uefi(tmp):
    nvram, picture = tmp + "/nvram", tmp + "/s.png"
    guest = Guest("--firmware", "uefi", "--nvram", nvram,
                  "--cpus", "2")
    shell(guest)
    guest.type(b"setvar hostel " + GUID + b" -nv -bs =0x5aa5\r")
    guest.wait_for(b"Shell>")
    guest.type(b"reset\r")
    shell(guest)
    guest.type(b"setvar hostel " + GUID + b"\r")
    ok("a variable outlives a reset", guest.wait_for(b"A5 5A"))
    guest.wait_for(b"Shell>")
    guest.type(b"reset -s\r")
    ok("the shell powers off", guest.end(None) == 0)

    guest = Guest("--firmware", "uefi", "--nvram", nvram, "--screenshot",
                  picture)
    shell(guest)
    other = Guest("--firmware", "uefi", "--nvram", nvram)
    ok("NVRAM is one guest's", other.end(None) == 125)
    guest.type(b"setvar hostel " + GUID + b"\r")
    ok("a variable outlives its guest", guest.wait_for(b"A5 5A"))
    guest.wait_for(b"Shell>")
    guest.end()
    width, rows = png_rows(picture)
    ok("a frame buffer is shown", width >= 640 and len(rows) >= 480)
    ok("with something on it", any(any(r) for r in rows))


BUILDS = ("/usr/share/OVMF/OVMF_CODE*.fd", "/usr/share/ovmf/OVMF.fd",
          "/usr/share/seabios/bios*.bin", "/usr/lib/u-boot/qemu-x86*/*.rom")


def builds():
    found = sorted({os.path.realpath(p) for b in BUILDS for p in glob.glob(b)})
    if not found:
        print("skipped: neither ovmf nor seabios is installed")
        sys.exit(SKIP)
    for path in found:
        guest = Guest("--firmware", path)
        name = os.path.basename(path)
        if "secboot" in name:
            said = guest.process.communicate()[1]
            ok("%s is refused" % name, guest.process.returncode == 125)
            ok("%s: a sentence says why" % name,
               b"system management mode" in said and said.count(b"\n") == 1)
            continue
        says = (b"autoboot" if name == "u-boot.rom" else
                b"No bootable device." if name.endswith(".bin") else
                b"Press ")
        ok("%s starts" % name, guest.wait_for(says))
        guest.end()
    print("%d builds" % len(found))


def main():
    which = sys.argv[1]
    if which == "builds":
        builds()
        sys.exit(1 if failures else 0)
    path = {"bios": "/usr/share/seabios/bios-256k.bin",
            "uefi": "/usr/share/OVMF/OVMF_CODE_4M.fd"}[which]
    if not os.path.exists(path):
        print("skipped: %s is not installed" % path)
        sys.exit(SKIP)
    with tempfile.TemporaryDirectory() as tmp:
        {"bios": bios, "uefi": uefi}[which](tmp)
    sys.exit(1 if failures else 0)


main()
