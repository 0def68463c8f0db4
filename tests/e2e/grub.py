#!/usr/bin/env python3
"""grub.py - one disk, started by GRUB through SeaBIOS and through OVMF.

The menu on the serial port, the kernel and its shell, a reboot that comes to
the menu again, and an end by GRUB.  KERNELS: as lib.sh.
"""
import os
import subprocess
import sys
import tempfile

from fwguest import SKIP, Guest, failures, ok

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
KERNELS = os.environ.get("KERNELS", TOP + "/.cache/guest")


def menu(guest):
    guest.wait_for(b"GNU GRUB")
    guest.wait_for(b"Hostel test entry")


def boot(guest):
    menu(guest)
    guest.type(b"\r")
    guest.wait_for(b"GRUB loads the kernel")
    ok("a shell comes", guest.wait_for(b"/root# "))


def through(firmware, disk):
    guest = Guest("--firmware", firmware, "--disk", disk)
    boot(guest)
    guest.type(b"dmesg | grep -c -e 'ACPI: Interpreter enabled' "
               b"-e '1234:1111'; [ -d /sys/firmware/efi ]; echo efi=$?.\r")
    ok("%s: ACPI tables and display are found" % firmware,
       guest.wait_for(b"2\r\n"))
    ok("%s: it is what was asked for" % firmware,
       guest.wait_for(b"efi=%d." % (firmware != "uefi")))
    guest.wait_for(b"/root# ")
    guest.type(b"reboot -f\r")
    menu(guest)
    ok("%s: the reboot came to the menu" % firmware, not failures)
    guest.type(b"\x0e\x0e\r")  # Ctrl-N: down
    ok("%s: GRUB powers off" % firmware, guest.end(None) == 0)


def main():
    with tempfile.TemporaryDirectory() as tmp:
        disk = tmp + "/disk"
        made = subprocess.run(
            [sys.executable, HERE + "/grub_disk.py", disk,
             KERNELS + "/vmlinuz-cloud-amd64",
             KERNELS + "/initramfs.cpio.gz"]).returncode
        if made == SKIP:
            sys.exit(SKIP)
        ok("the disk is made", made == 0)
        for firmware in ("bios", "uefi"):
            if not failures:
                through(firmware, disk)
    sys.exit(1 if failures else 0)


main()
