#!/bin/sh
# run.sh - boots the stock kernel: to a shell if there is a person, else to a
# script that says what runs there, and off again.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
hostel=$top/${BUILD:-build}/hostel
dir=${HOSTEL_GUEST_DIR:-$top/.cache/guest}
flavour=${KERNEL:-amd64}
words="console=ttyS0 loglevel=5"

run()
{
	"$hostel" run --kernel "$dir/vmlinuz-$flavour" \
		--initrd "$dir/initramfs.cpio.gz" "$@"
}

echo "Booting Debian's Linux $(cat "$dir/release-$flavour")" \
	"on $("$hostel" doctor --auto)." >&2
if [ -t 0 ] && [ -t 1 ]; then
	echo "Ctrl-] ends the guest; so does 'poweroff -f' in it." >&2
	run --append "$words"
else
	run --append "$words hostel.script=about" </dev/null
	echo "The guest powered off by itself." >&2
fi
