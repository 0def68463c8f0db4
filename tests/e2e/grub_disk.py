#!/usr/bin/env python3
"""grub_disk.py FILE KERNEL INITRD [APPEND] - a GPT disk that boots both ways.

Partition 1 holds GRUB's core for a BIOS, partition 2 is the EFI system
partition with GRUB for UEFI, GRUB's configuration, a kernel and an initrd.
The menu waits for 3 seconds, on the firmware's console, which is on the serial
port too: a GRUB with a driver for it would take half of the keys away.  Needs
grub-pc-bin, grub-efi-amd64-bin, gdisk and mtools; exit status 77 without.
"""
import os
import shutil
import struct
import subprocess
import sys
import tempfile

SECTOR = 512
CORE_AT, CORE_SECTORS = 2048, 2048
ESP_AT = 4096
PC = "/usr/lib/grub/i386-pc"
EFI = "/usr/lib/grub/x86_64-efi"
MODULES = ["part_gpt", "fat", "normal", "linux", "terminal", "echo",
           "reboot", "halt", "search", "configfile", "test", "sleep",
           "video", "gfxterm"]
APPEND = "console=ttyS0 panic=-1 quiet"

CONFIG = """
set timeout=3
terminal_input console
terminal_output console
menuentry "Hostel test entry" {
	echo "GRUB loads the kernel"
	set gfxpayload=keep
	linux /vmlinuz %s
	initrd /initrd
}
menuentry "Start again" {
	reboot
}
menuentry "Power off" {
	halt
}
"""


def run(*args):
    subprocess.run(args, check=True, stdout=subprocess.DEVNULL)


def need():
    for path in (PC + "/boot.img", EFI + "/modinfo.sh"):
        if not os.path.exists(path):
            return path
    for tool in ("grub-mkimage", "sgdisk", "mformat", "mcopy", "mmd"):
        if not shutil.which(tool, path=os.environ["PATH"] + ":/usr/sbin"):
            return tool
    return None


def make_esp(path, size, tmp, kernel, initrd, append):
    with open(path, "wb") as f:
        f.truncate(size)
    with open(tmp + "/grub.cfg", "w") as f:
        f.write(CONFIG % append)
    run("mformat", "-i", path, "-F", "::")
    run("mmd", "-i", path, "::/EFI", "::/EFI/BOOT", "::/grub")
    run("grub-mkimage", "-O", "x86_64-efi", "-o", tmp + "/bootx64.efi",
        "-p", "(hd0,gpt2)/grub", "efi_gop", *MODULES)
    for source, target in ((tmp + "/bootx64.efi", "EFI/BOOT/BOOTX64.EFI"),
                           (tmp + "/grub.cfg", "grub/grub.cfg"),
                           (kernel, "vmlinuz"), (initrd, "initrd")):
        run("mcopy", "-i", path, source, "::/" + target)


def put_core(disk, tmp):
    """As grub-bios-setup does, without a device to ask."""
    run("grub-mkimage", "-O", "i386-pc", "-o", tmp + "/core.img", "-p",
        "(hd0,gpt2)/grub", "biosdisk", "vbe", *MODULES)
    with open(tmp + "/core.img", "rb") as f:
        core = bytearray(f.read())
    with open(PC + "/boot.img", "rb") as f:
        boot = bytearray(f.read())
    # The rest of the core, as a list of one piece at the first sector's end.
    rest = (len(core) + SECTOR - 1) // SECTOR - 1
    struct.pack_into("<QHH", core, SECTOR - 12, CORE_AT + 1, rest, 0x820)
    with open(disk, "r+b") as f:
        f.seek(CORE_AT * SECTOR)
        f.write(core)
        f.seek(0)
        mbr = bytearray(f.read(SECTOR))
        mbr[:0x1b8] = boot[:0x1b8]
        struct.pack_into("<Q", mbr, 0x5c, CORE_AT)
        mbr[0x66:0x68] = b"\x90\x90"  # boot from whatever drive it came from
        f.seek(0)
        f.write(mbr)


def main():
    disk, kernel, initrd = sys.argv[1:4]
    append = sys.argv[4] if len(sys.argv) > 4 else APPEND
    missing = need()
    if missing:
        print("skipped: %s is not installed" % missing)
        sys.exit(77)
    os.environ["PATH"] += ":/usr/sbin"
    size = os.path.getsize(kernel) + os.path.getsize(initrd) + (40 << 20)
    size = size // (1 << 20) << 20
    with open(disk, "wb") as f:
        f.truncate(ESP_AT * SECTOR + size + (1 << 20))
    run("sgdisk", "-n", "1:%d:+%d" % (CORE_AT, CORE_SECTORS - 1), "-t",
        "1:ef02", "-n", "2:%d:+%d" % (ESP_AT, size // SECTOR - 1), "-t",
        "2:ef00", disk)
    with tempfile.TemporaryDirectory() as tmp:
        esp = tmp + "/esp"
        make_esp(esp, size, tmp, kernel, initrd, append)
        with open(disk, "r+b") as f, open(esp, "rb") as e:
            f.seek(ESP_AT * SECTOR)
            shutil.copyfileobj(e, f, 1 << 20)
        put_core(disk, tmp)


main()
