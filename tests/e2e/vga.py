#!/usr/bin/env python3
"""vga.py - every mode of a VGA, set by the firmware's video BIOS, is drawn.

For each mode a boot sector of its own sets it, draws pixels or letters, and
ends the guest; what --screenshot has written is compared.  Kernels that start
without firmware find text mode.  Environment: as lib.sh.
"""
import os
import struct
import subprocess
import sys
import tempfile
import zlib

HOSTEL = os.environ["HOSTEL"]
ENGINE = os.environ.get("ENGINE", "auto")
TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
KERNELS = os.environ.get("KERNELS", TOP + "/.cache/guest")
BIOS = "/usr/share/seabios/bios-256k.bin"
failures = 0

BLACK, BLUE, GREEN, CYAN, RED, WHITE = 0, 1, 2, 3, 4, 15
RGB = {BLACK: 0x000000, BLUE: 0x0000aa, GREEN: 0x00aa00, CYAN: 0x00aaaa,
       RED: 0xaa0000, WHITE: 0xffffff}


def ok(what, good):
    global failures
    if not good:
        failures += 1
        print("FAILED:", what)


# --- A boot sector, instruction by instruction ------------------------------

def mov_ax(value):
    return b"\xb8" + struct.pack("<H", value)


def bios(ax, bx=0, cx=0, dx=0):
    """int 10h"""
    return (b"\xbb" + struct.pack("<H", bx) + b"\xb9" + struct.pack("<H", cx) +
            b"\xba" + struct.pack("<H", dx) + mov_ax(ax) + b"\xcd\x10")


def outw(port, value):
    return b"\xba" + struct.pack("<H", port) + mov_ax(value) + b"\xef"


def poke(segment, offset, data):
    """Bytes to segment:offset."""
    code = mov_ax(segment) + b"\x8e\xc0"  # mov es, ax
    for i, byte in enumerate(data):
        code += b"\x26\xc6\x06" + struct.pack("<HB", offset + i, byte)
    return code


def plot(x, y, colour):
    return bios(0x0c00 | colour, 0, x, y)


def sector(code):
    code = b"\xfa" + code + b"\xb0\x00\xe6\xf4\xf4"  # cli; the exit port
    assert len(code) <= 510, len(code)
    return code.ljust(510, b"\0") + b"\x55\xaa"


# --- The picture --------------------------------------------------------------

def unfilter(kind, row, above, step):
    for i in range(len(row)):
        a = row[i - step] if i >= step else 0
        b = above[i]
        c = above[i - step] if i >= step else 0
        p = a + b - c
        paeth = min((abs(p - a), 0, a), (abs(p - b), 1, b),
                    (abs(p - c), 2, c))[2]
        row[i] = (row[i] + (0, a, b, (a + b) // 2, paeth)[kind]) & 255


def png(path):
    """Rows of 0xrrggbb."""
    with open(path, "rb") as f:
        data = f.read()
    at, packed = 8, b""
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        if kind == b"IHDR":
            width, height = struct.unpack(">II", data[at + 8:at + 16])
        if kind == b"IDAT":
            packed += data[at + 8:at + 8 + size]
        at += size + 12
    raw = zlib.decompress(packed)
    above, rows = bytearray(width * 3), []
    for y in range(height):
        line = raw[y * (width * 3 + 1):(y + 1) * (width * 3 + 1)]
        row = bytearray(line[1:])
        unfilter(line[0], row, above, 3)
        rows.append([int.from_bytes(row[i:i + 3], "big")
                     for i in range(0, len(row), 3)])
        above = row
    return rows


class Run:
    """code: a boot sector's, or None: options have a kernel."""
    def __init__(self, tmp, code, *options, status=1):
        self.picture, self.text = tmp + "/screen.png", tmp + "/screen.txt"
        if code:
            with open(tmp + "/disk", "wb") as f:
                f.write(sector(code).ljust(1 << 20, b"\0"))
            options = ("--firmware", "bios", "--disk",
                       tmp + "/disk,format=raw")
        for shot in (self.picture, self.text):
            got = subprocess.run(
                [HOSTEL, "run", "--engine", ENGINE, "--timeout", "60",
                 "--screenshot", shot] + list(options),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL).returncode
            ok("the guest ended by itself", got == status)
            if code and code[:1] != TEXT:
                break


TEXT = b"\x90"  # a nop that says: the text, too


def graphics(tmp, what, code, width, height, pixels):
    """pixels: (x, y): colour; everything else on their rows is black."""
    rows = png(Run(tmp, code).picture)
    ok("%s: %d x %d, not %d x %d" % (what, width, height, len(rows[0]),
                                     len(rows)),
       (len(rows[0]), len(rows)) == (width, height))
    if len(rows) != height:
        return
    wrong = [(x, y, "%06x" % rows[y][x]) for y in sorted({y for x, y in pixels})
             for x in range(width) if rows[y][x] != pixels.get((x, y), 0)]
    ok("%s: pixels %s" % (what, wrong[:4]), not wrong)
    ok("%s: nothing else" % what,
       sum(p != 0 for row in rows for p in row) ==
       sum(p != 0 for p in pixels.values()))


def plotted(tmp, mode, width, height, colours, rgb=None):
    """Pixels in the corners and in between, by the BIOS."""
    rgb = rgb or RGB
    spots = [(0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1),
             (1, 1), (7, 2), (8, 3), (width // 2, height // 2),
             (width // 2 + 5, height // 2 + 1)]
    code, want = bios(mode), {}
    for i, (x, y) in enumerate(spots):
        colour = colours[i % len(colours)]
        code += plot(x, y, colour)
        want[x, y] = rgb[colour]
    graphics(tmp, "mode %02xh" % mode, code, width, height, want)


def planar_and_packed(tmp):
    some = [BLUE, RED, WHITE, CYAN]
    plotted(tmp, 0x0d, 320, 200, some)
    plotted(tmp, 0x0e, 640, 200, some)
    plotted(tmp, 0x10, 640, 350, some)
    plotted(tmp, 0x12, 640, 480, some)
    plotted(tmp, 0x13, 320, 200, some)
    plotted(tmp, 0x11, 640, 480, [1], {1: 0xffffff})


def cga(tmp):
    plotted(tmp, 0x04, 320, 200, [1, 2, 3],
            {1: 0x55ffff, 2: 0xff55ff, 3: 0xffffff})
    plotted(tmp, 0x06, 640, 200, [1], {1: 0xffffff})


def unchained(tmp):
    """"Mode X": 256 colours, each plane by itself, 240 lines."""
    code = bios(0x13) + outw(0x3c4, 0x0604)
    for value in (0xe317, 0x0014, 0x2c11, 0x0d06, 0x3e07, 0x4109, 0xea10,
                  0xac11, 0xdf12, 0xe715, 0x0616):
        code += outw(0x3d4, value)
    want = {}
    for plane, colour in enumerate((BLUE, GREEN, RED, WHITE)):
        code += outw(0x3c4, 1 << plane << 8 | 2)
        code += poke(0xa000, 239 * 80 + 10 * plane, [colour])
        want[40 * plane + plane, 239] = RGB[colour]
    graphics(tmp, "mode X", code, 320, 240, want)


def split_screen(tmp):
    """The lower half shows memory from 0, the upper from where it is set."""
    code = bios(0x12) + plot(9, 3, WHITE)
    code += outw(0x3d4, 0x400c) + outw(0x3d4, 0x000d)  # start at 4000h
    code += outw(0x3d4, 0xc718) + outw(0x3d4, 0x2e07) + outw(0x3d4, 0x0009)
    graphics(tmp, "split screen", code, 640, 480, {(9, 203): 0xffffff})
    code = bios(0x12) + plot(9, 3, WHITE)
    # mov dx, 3da; in al, dx; mov dx, 3c0; then 33h and 3
    code += b"\xba\xda\x03\xec\xba\xc0\x03\xb0\x33\xee\xb0\x03\xee"
    graphics(tmp, "panning", code, 640, 480, {(6, 3): 0xffffff})


def vesa(tmp):
    for mode, width, height, pixel, rgb in (
            (0x101, 640, 480, b"\x04", 0xaa0000),
            (0x103, 800, 600, b"\x02", 0x00aa00),
            (0x10d, 320, 200, b"\x00\x7c", 0xff0000),
            (0x111, 640, 480, b"\xe0\x07", 0x00ff00),
            (0x112, 640, 480, b"\x56\x34\x12", 0x123456),
            (0x118, 1024, 768, b"\xff\x80\x01", 0x0180ff)):
        code = bios(0x4f02, mode) + poke(0xa000, 5 * len(pixel), pixel)
        graphics(tmp, "VBE %03xh" % mode, code, width, height, {(5, 0): rgb})


def text(tmp):
    for mode, more, columns, rows, cell in (
            (0x03, b"", 80, 25, (9, 16)), (0x01, b"", 40, 25, (9, 16)),
            (0x03, bios(0x1112), 80, 50, (9, 8))):
        what = "text %d x %d" % (columns, rows)
        code = TEXT + bios(mode) + more + bios(0x0100, 0, 0x2000)
        # A white block on red, and letters, in the last row.
        at = (rows - 1) * columns * 2
        code += poke(0xb800, at, b"H\x0fi\x0f\xdb\x4f\x20\x4f")
        run = Run(tmp, code)
        picture = png(run.picture)
        width, height = cell
        ok("%s: its size" % what, (len(picture[0]), len(picture)) ==
           (columns * width, rows * height))
        y = rows * height - height // 2
        ok("%s: white on red" % what,
           picture[y][2 * width:4 * width] ==
           [0xffffff] * width + [0xaa0000] * width or
           picture[y][2 * width:4 * width] ==
           [0xffffff] * 8 + [0xaa0000] * (2 * width - 8))
        with open(run.text, encoding="utf-8") as f:
            lines = f.read().split("\n")
        ok("%s: its text: %r" % (what, lines[rows - 1]),
           lines[rows - 1] == "Hi\u2588")


def without_firmware(tmp):
    """A Multiboot kernel that writes to b8000, as the first of many do."""
    base, magic, flags = 0x100000, 0x1badb002, 0x10000
    code = b"\xc7\x05" + struct.pack("<I", 0xb8000) + b"H\x4fi\x0f"
    code += b"\xb0\x00\xe6\xf4\xf4"
    with open(tmp + "/kernel", "wb") as f:
        f.write(struct.pack("<8I", magic, flags, -(magic + flags) & 0xffffffff,
                            base, base, 0, 0, base + 32) + code)
    run = Run(tmp, None, "--kernel", tmp + "/kernel", "--vga", "std")
    picture = png(run.picture)
    ok("without firmware: the size of text",
       (len(picture[0]), len(picture)) == (720, 400))
    ok("without firmware: its colours",
       set(picture[6][:9]) == {0xffffff, 0xaa0000})
    with open(run.text) as f:
        ok("without firmware: its text", f.read().startswith("Hi\n"))
    kernel, initrd = KERNELS + "/vmlinuz-amd64", "/initramfs.cpio.gz"
    if os.path.exists(kernel):
        run = Run(tmp, None, "--kernel", kernel, "--initrd", KERNELS + initrd,
                  "--vga", "std", "--append", "console=tty0 hostel.script=about",
                  status=0)
        with open(run.text) as f:
            ok("without firmware: a stock kernel's console",
               "Power down" in f.read())


def main():
    if not os.path.exists(BIOS):
        print("skipped: seabios is not installed")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as tmp:
        for part in (planar_and_packed, cga, unchained, split_screen, vesa,
                     text, without_firmware):
            part(tmp)
    sys.exit(1 if failures else 0)


main()
