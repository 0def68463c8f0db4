#!/bin/bash
# images.sh - builds debian:12 and uses it as a person would: login, no failed
# unit, apt through NAT, a web server on a forwarded port, ssh and cp, reboot,
# both firmwares, --rm.  Takes several minutes: `make test-images`.
#
#	HOSTEL=FILE	default: build/hostel
#	IMAGES_HOME=DIR	kept, so that the next time builds nothing
set -u

top=$(cd "$(dirname "$0")/.." && pwd)
hostel=${HOSTEL:-$top/build/hostel}
tmp=$(mktemp -d)
export HOSTEL_HOME=${IMAGES_HOME:-$tmp/home}
mkdir -p "$HOSTEL_HOME"
checks=0 failures=0 pid=
trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null; rm -rf "$tmp"' EXIT
trap 'exit 99' INT TERM

ok()
{
	what=$1
	shift
	checks=$((checks + 1))
	if "$@" >"$tmp/said" 2>&1; then
		echo "ok: $what"
		return 0
	fi
	failures=$((failures + 1))
	echo "FAILED: $what"
	tail -n 5 "$tmp/said" | sed 's/^/  /'
	return 1
}

# start ARGUMENT...: hostel in the background, waits for the login prompt.
start()
{
	: >"$tmp/serial" # not the last one's, should the shell be slow
	"$hostel" "$@" </dev/null >"$tmp/serial" 2>"$tmp/err" &
	pid=$!
	login 1
}

login()
{
	for i in $(seq 600); do
		[ "$(grep -c 'login: ' "$tmp/serial")" -lt "$1" ] || return 0
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.5
	done
	tail -n 5 "$tmp/serial" "$tmp/err"
	return 1
}

stop()
{
	timeout 120 "$hostel" stop "$1" && wait "$pid"
	status=$?
	pid=
	return $status
}

in_guest()
{
	timeout 300 "$hostel" ssh images "$@"
}

says()
{
	want=$1
	shift
	got=$("$@") && [ "$got" = "$want" ] || { echo "'$got'"; return 1; }
}

free_port()
{
	python3 -c 'import socket; s = socket.socket(); s.bind(("", 0))
print(s.getsockname()[1])'
}

"$hostel" rm images 2>/dev/null
"$hostel" image info debian:12 >/dev/null 2>&1 ||
	ok "an image is built" "$hostel" image build debian:12 || exit 1
ok "it has its checksum" "$hostel" image verify debian:12

port=$(free_port)
ok "run comes to a login" start run debian:12 --name images \
	-p "$port:80" || exit 1
ok "everything is up" says running in_guest systemctl is-system-running --wait
ok "no unit failed" says "" in_guest systemctl --failed --no-legend
ok "its name" says images in_guest hostname
ok "the root file system has grown" in_guest \
	'[ $(df --output=size / | tail -n 1) -gt 9000000 ]'
ok "sudo" says 0 in_guest sudo id -u
ok "apt-get update" in_guest sudo apt-get update
ok "apt-get install" in_guest sudo apt-get install -y sqlite3 busybox-static
ok "what was installed" says 42 in_guest sqlite3 :memory: "'select 42'"
in_guest 'echo served >index.html; sudo busybox httpd -p 80 -h .'
ok "a web server on a forwarded port" says served \
	curl -s -m 20 "http://127.0.0.1:$port/"
head -c 300000 /dev/urandom >"$tmp/a"
ok "cp there" "$hostel" cp "$tmp/a" images:/tmp/a
ok "and back" "$hostel" cp images:/tmp/a "$tmp/b"
ok "is the same" cmp "$tmp/a" "$tmp/b"
ok "it runs once only" sh -c \
	"'$hostel' start images 2>&1 | grep -q 'running already'"
in_guest sudo systemctl reboot
ok "a reboot from inside" login 2
ok "what was there is there" says served in_guest cat index.html
ok "stop" stop images
for firmware in bios uefi; do
	ok "the same disk by $firmware" start start images \
		--firmware "$firmware"
	ok "GRUB's menu was on the serial port" \
		grep -q 'previous kernel' "$tmp/serial"
	ok "no unit failed" says "" in_guest systemctl --failed --no-legend
	ok "stop" stop images
done
ok "rm" "$hostel" rm images

printf '#!/bin/sh\necho seen-by-user-data >/dev/ttyS0\nsystemctl poweroff\n' \
	>"$tmp/user-data"
ok "a guest that goes again, with user-data" timeout 300 sh -c \
	"'$hostel' run debian:12 --rm --user-data '$tmp/user-data' \
	</dev/null 2>'$tmp/err' | grep -q seen-by-user-data"
ok "is gone" says "" sh -c "ls '$HOSTEL_HOME/guests' | grep debian-12- || :"

echo "$checks checks, $failures failed"
[ "$failures" = 0 ]
