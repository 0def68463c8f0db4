#!/usr/bin/env python3
"""grub.py MODE - GRUB starts a kernel through SeaBIOS and through OVMF.

virtio, ahci: from a disk; the menu on the serial port, the kernel and its
shell, a reboot that comes to the menu again, an end by GRUB.  large: with 6 GiB,
two processors and an e1000.  cdrom: from an ISO image, behind a disk with
nothing on it.  order: the first of two disks on different buses.  entry: by an
entry in OVMF's variables.  mmio: SeaBIOS, from a disk on no bus, before one on
PCI.  net: by TFTP.  Environment: as lib.sh; FIRMWARES: of bios and uefi those
to try, where a mode tries both.
"""
import os
import shutil
import subprocess
import sys
import tempfile

from fwguest import HOSTEL, SKIP, Guest, failures, ok

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
KERNELS = os.environ.get("KERNELS", TOP + "/.cache/guest")
FIRMWARES = os.environ.get("FIRMWARES", "bios uefi").split()


def menu(guest):
    guest.wait_for(b"GNU GRUB")
    guest.wait_for(b"Hostel test entry")
    guest.wait_for(b"automatically in")  # it listens now


def boot(guest):
    menu(guest)
    guest.type(b"\r")
    guest.wait_for(b"GRUB loads the kernel")
    ok("a shell comes", guest.wait_for(b"/root# "))


def through(firmware, disk, bus, *more):
    what = "%s, %s" % (firmware, bus)
    guest = Guest("--firmware", firmware, "--disk",
                  "%s,format=raw,bus=%s" % (disk, bus), *more)
    boot(guest)
    guest.type(b"dmesg | grep -c -e 'ACPI: Interpreter enabled' "
               b"-e '1234:1111'; [ -d /sys/firmware/efi ]; echo efi=$?.\r")
    ok("%s: ACPI tables and display are found" % what,
       guest.wait_for(b"2\r\n"))
    ok("%s: it is what was asked for" % what,
       guest.wait_for(b"efi=%d." % (firmware != "uefi")))
    guest.wait_for(b"/root# ")
    guest.type(b"reboot -f\r")
    menu(guest)
    ok("%s: the reboot came to the menu" % what, not failures)
    for entry in (b"*Start again", b"*Power off"):
        guest.type(b"\x0e")  # Ctrl-N: down
        guest.wait_for(entry)
    guest.type(b"\r")
    ok("%s: GRUB powers off" % what, guest.end(None) == 0)


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
    orders = {"bios": "disk", "uefi": "cdrom,disk"}
    for firmware in FIRMWARES:
        guest = Guest("--firmware", firmware, "--cdrom", iso, "--disk", blank,
                      "--boot", orders[firmware])
        boot(guest)
        guest.type(b"poweroff -f\r")
        ok("%s: from a CD-ROM" % firmware, guest.end(None) == 0)


LARGE = ("--memory", "6G", "--net", "nat,nic=e1000", "--cpus", "2")


# Where the EFI system partition of grub_disk.py is, for mtools.
ESP = "@@2M"


def in_order(tmp, disk):
    """The first disk of the command line is the first of firmware, too."""
    blank = tmp + "/blank"
    with open(blank, "wb") as f:
        f.truncate(8 << 20)
    for firmware, first, second in (("bios", "ahci", "virtio"),
                                    ("bios", "virtio", "ahci"),
                                    ("uefi", "ahci", "virtio")):
        guest = Guest("--firmware", firmware, "--disk",
                      "%s,format=raw,bus=%s" % (disk, first), "--disk",
                      "%s,format=raw,bus=%s" % (blank, second))
        menu(guest)
        guest.end()
        ok("%s: %s before %s" % (firmware, first, second), not failures)


def from_network(tmp):
    """UEFI's PXE fetches GRUB, and GRUB all else."""
    tftp, config = tmp + "/tftp", tmp + "/grub.cfg"
    os.mkdir(tftp)
    shutil.copy(KERNELS + "/vmlinuz-cloud-amd64", tftp + "/vmlinuz")
    shutil.copy(KERNELS + "/initramfs.cpio.gz", tftp + "/initrd")
    with open(config, "w") as f:
        f.write("linux (tftp)/vmlinuz console=ttyS0 panic=-1 quiet\n"
                "initrd (tftp)/initrd\nboot\n")
    subprocess.run(["grub-mkimage", "-O", "x86_64-efi", "-o",
                    tftp + "/grub.efi", "-c", config, "-p", "/", "efinet",
                    "tftp", "net", "linux", "normal"], check=True)
    guest = Guest("--firmware", "uefi", "--boot", "net", "--net",
                  "nat,tftp=%s,bootfile=grub.efi" % tftp)
    guest.wait_for(b"NBP file downloaded successfully")
    ok("net: a shell comes", guest.wait_for(b"/root# "))
    guest.type(b"poweroff -f\r")
    ok("net: it powers off", guest.end(None) == 0)
    refused = subprocess.run([HOSTEL, "run", "--firmware", "uefi", "--net",
                              "nat,tftp=%s/none" % tmp], capture_output=True)
    ok("net: a directory that is not there is refused",
       refused.returncode == 125 and b"tftp=" in refused.stderr)


def by_entry(tmp, disk):
    """A boot entry that is made once outlives the guest."""
    for command in (("mcopy", "-i", disk + ESP, "::/EFI/BOOT/BOOTX64.EFI",
                     tmp + "/grub.efi"),
                    ("mmd", "-i", disk + ESP, "::/EFI/own"),
                    ("mcopy", "-i", disk + ESP, tmp + "/grub.efi",
                     "::/EFI/own/grub.efi"),
                    ("mdel", "-i", disk + ESP, "::/EFI/BOOT/BOOTX64.EFI")):
        subprocess.run(command, check=True, env=dict(
            os.environ, MTOOLS_SKIP_CHECK="1"))
    options = ("--firmware", "uefi", "--nvram", tmp + "/nvram", "--disk",
               disk + ",format=raw")
    guest = Guest(*options)
    guest.wait_for(b"Press")
    guest.type(b"\x1b")
    guest.wait_for(b"Shell>")
    guest.type(b"bcfg boot add 0 fs0:\\EFI\\own\\grub.efi own\r")
    guest.wait_for(b"Shell>")
    guest.end()
    for order in (("--boot", "cdrom,disk"), ("--net", "nat")):
        guest = Guest(*options, *order)
        menu(guest)
        guest.end()
    ok("the entry is used by the next guest", not failures)


def main():
    mode = sys.argv[1]
    with tempfile.TemporaryDirectory() as tmp:
        disk = tmp + "/disk"
        made = subprocess.run(
            [sys.executable, HERE + "/grub_disk.py", disk,
             KERNELS + "/vmlinuz-cloud-amd64",
             KERNELS + "/initramfs.cpio.gz"]).returncode
        if made == SKIP:
            sys.exit(SKIP)
        ok("the disk is made", made == 0)
        if mode == "entry":
            by_entry(tmp, disk)
        elif mode == "net":
            from_network(tmp)
        elif mode == "order":
            in_order(tmp, disk)
        elif mode == "mmio":
            with open(tmp + "/blank", "wb") as f:
                f.truncate(8 << 20)
            through("bios", disk, "mmio", "--disk", tmp + "/blank")
        elif mode == "cdrom":
            from_cdrom(tmp)
        else:
            for firmware in FIRMWARES:
                if mode == "large":
                    through(firmware, disk, "virtio", *LARGE)
                else:
                    through(firmware, disk, mode)
    sys.exit(1 if failures else 0)


main()
