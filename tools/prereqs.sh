#!/bin/sh
# prereqs.sh [PACKAGE...] - sees that what building and testing needs is
# installed, and the packages named, which something else needs.
#
# Looks with dpkg-query, so it costs nothing when nothing is missing.  Else it
# installs with apt as root or through `sudo -n`; where neither is possible it
# prints the one line to run and exits with status 1.
set -eu

packages="gcc libc6-dev make meson ninja-build pkg-config busybox-static
	libjansson-dev libcmocka-dev libzydis-dev libzstd-dev liblz4-dev
	liblzma-dev zlib1g-dev libbz2-dev libslirp-dev liburing-dev
	libarchive-dev libssl-dev libseccomp-dev libpng-dev ca-certificates $*"

prereqs_missing()
{
	for p in $packages; do
		dpkg-query -W -f '${db:Status-Status}\n' "$p" 2>/dev/null |
			grep -qx installed || printf '%s ' "$p"
	done
}

# The guest's kernels come from apt as well: without package lists there is
# nothing to download from.
prereqs_have_lists()
{
	apt-cache show linux-image-amd64 2>/dev/null | grep -q '^Package:'
}

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
	echo "prereqs: no dpkg and apt here; install by hand: "$packages >&2
	exit 1
fi

missing=$(prereqs_missing)
if [ -z "$missing" ] && prereqs_have_lists; then
	exit 0
fi

if [ "$(id -u)" = 0 ]; then
	as_root="env"
elif sudo -n true 2>/dev/null; then
	as_root="sudo -n env"
else
	line="apt-get update"
	[ -z "$missing" ] || line="$line && apt-get install -y $missing"
	echo "prereqs: something is missing and this is not root; run:" >&2
	echo "  sudo sh -c '$line'" >&2
	exit 1
fi

echo "prereqs: installing: ${missing:-package lists}" >&2
# One dead third-party source must not stop us: what counts is the install.
$as_root apt-get update >&2 ||
	echo "prereqs: apt-get update had errors; going on" >&2
[ -z "$missing" ] || $as_root DEBIAN_FRONTEND=noninteractive \
	apt-get install -y --no-install-recommends $missing >&2
