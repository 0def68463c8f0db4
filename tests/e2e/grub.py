#!/usr/bin/env python3
"""grub.py - one disk, started by GRUB through SeaBIOS and through OVMF.

The menu on the serial port, the kernel and its shell, a reboot that comes to
the menu again, and an end by GRUB.  Then the same from a CD-ROM, behind a disk
with nothing on it.  KERNELS: as lib.sh.
"""
import os
import shutil
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
    guest.wait_for(b"automatically in")  # it listens now


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
    for entry in (b"*Start again", b"*Power off"):
        guest.type(b"\x0e")  # Ctrl-N: down
        guest.wait_for(entry)
    guest.type(b"\r")
    ok("%s: GRUB powers off" % firmware, guest.end(None) == 0)


CD_CONFIG = """
set timeout=3
terminal_input console
terminal_output console
menuentry "Hostel test entry" {
	echo "GRUB loads the kernel"
	linux /vmlinuz console=ttyS0 panic=-1 quiet
	initrd /initrd
}
"""


def from_cdrom(tmp):
    if not shutil.which("grub-mkrescue") or not shutil.which("xorriso"):
        print("CD-ROM left out: grub-mkrescue or xorriso is not installed")
        return
    root, iso, blank = tmp + "/root", tmp + "/cd.iso", tmp + "/blank"
    os.makedirs(root + "/boot/grub")
    with open(root + "/boot/grub/grub.cfg", "w") as f:
        f.write(CD_CONFIG)
    with open(blank, "wb") as f:
        f.truncate(8 << 20)
    shutil.copy(KERNELS + "/vmlinuz-cloud-amd64", root + "/vmlinuz")
    shutil.copy(KERNELS + "/initramfs.cpio.gz", root + "/initrd")
    subprocess.run(["grub-mkrescue", "-o", iso, root], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for firmware, order in (("bios", "disk"), ("uefi", "cdrom,disk")):
        guest = Guest("--firmware", firmware, "--cdrom", iso, "--disk", blank,
                      "--boot", order)
        boot(guest)
        guest.type(b"poweroff -f\r")
        ok("%s: from a CD-ROM" % firmware, guest.end(None) == 0)


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
        if not failures:
            from_cdrom(tmp)
    sys.exit(1 if failures else 0)


main()
