"""loaders.py - the stock kernel by every way into it but the usual one.

PVH: the ELF kernel out of the bzImage.  Its own decompressor: the bzImage
without its payload's place in the header, so that Hostel cannot unpack it, by
the 64-bit entry and, without XLF_KERNEL_64, by the 32-bit one.
"""
import lzma
import os
import struct
import subprocess
import sys
import tempfile

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
HOSTEL = os.environ.get("HOSTEL", os.path.join(TOP, "build", "hostel"))
GUEST = os.environ.get("KERNELS", os.path.join(TOP, ".cache", "guest"))
KERNEL = os.path.join(GUEST, "vmlinuz-amd64")
INITRD = os.path.join(GUEST, "initramfs.cpio.gz")

# Offsets in the setup header (boot.rst).
SETUP_SECTS, XLOADFLAGS, PAYLOAD_OFFSET, PAYLOAD_LENGTH = 497, 566, 584, 588


def pvh(image):
    """The kernel inside: an ELF file with a PVH note."""
    at, = struct.unpack_from("<I", image, PAYLOAD_OFFSET)
    at += (image[SETUP_SECTS] + 1) * 512
    return lzma.LZMADecompressor().decompress(image[at:])


def decompressor64(image):
    image = bytearray(image)
    struct.pack_into("<I", image, PAYLOAD_LENGTH, 0)
    return image


def decompressor32(image):
    image = decompressor64(image)
    struct.pack_into("<H", image, XLOADFLAGS, 0)
    return image


def boot(data):
    """Boots it to the end; what is wrong, or None."""
    with tempfile.NamedTemporaryFile() as f:
        f.write(data)
        f.flush()
        run = subprocess.run(
            [HOSTEL, "run", "--kernel", f.name, "--initrd", INITRD,
             "--append", "console=ttyS0 hostel.script=about", "--cpus", "2",
             "--timeout", "150"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)
    if run.returncode:
        return "status %d: %s" % (run.returncode, run.stderr.decode())
    if b"ended with status 0" not in run.stdout:
        return "the script did not run:\n" + run.stdout.decode()[-1000:]
    return None


def main():
    if not os.path.exists(KERNEL) or not os.path.exists(INITRD):
        print("SKIPPED: no kernel in %s; run tools/guest.sh" % GUEST)
        return 77
    with open(KERNEL, "rb") as f:
        image = f.read()
    failed = 0
    for way in (pvh, decompressor64, decompressor32):
        wrong = boot(way(image))
        print("%s: %s" % (way.__name__, wrong or "boots"))
        failed += wrong is not None
    return failed


sys.exit(main())
