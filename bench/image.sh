#!/bin/sh
# image.sh SOURCE OUTPUT DIR FLAGS...: a flat image linked to run at 1 MiB.
set -e
src=$1 out=$2 dir=$3
shift 3
mkdir -p "$dir"
${CC:-cc} "$@" -c "$src" -o "$dir/image.o"
cat >"$dir/image.ld" <<'END'
SECTIONS {
	. = 0x100000;
	.image : { *(.text.entry) *(.text*) *(.rodata*) *(.data*) }
	/DISCARD/ : { *(.note*) *(.comment) *(.eh_frame*) }
}
END
ld -T "$dir/image.ld" -e workload -o "$dir/image.elf" "$dir/image.o"
objcopy -O binary "$dir/image.elf" "$out"
