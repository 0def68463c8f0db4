"""embed.py OUT FILE... - the files as C: what an image is built from lies in
the program itself, so that it needs no directory of its own."""
import os
import sys


def literal(data):
    lines = data.decode().splitlines(keepends=True)
    for line in lines:
        text = line.replace('\\', '\\\\').replace('"', '\\"')
        text = text.replace('\t', '\\t').replace('\n', '\\n')
        yield '\t  "%s"\n' % text.replace('??', '?\\?')


with open(sys.argv[1], 'w') as out:
    out.write('#include "image/guest.h"\n\n')
    out.write('const struct guest_file guest_files[] = {\n')
    for path in sys.argv[2:]:
        with open(path, 'rb') as f:
            data = f.read()
        out.write('\t{ "%s",\n' % os.path.basename(path))
        out.writelines(literal(data))
        out.write('\t},\n')
    out.write('\t{ 0, 0 },\n};\n')
