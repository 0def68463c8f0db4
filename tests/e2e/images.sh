#!/bin/sh
# images.sh - what `hostel image` and `hostel run IMAGE` refuse, each with one
# sentence, and the store's life with an image that boots nothing.
. "$(dirname "$0")/lib.sh"

HOSTEL_HOME=$tmp/home
export HOSTEL_HOME

# cli ARGUMENT...: any verb; leaves $status, $out, $err.
cli()
{
	timeout -k 5 "$LIMIT" "$HOSTEL" "$@" <"$input" >"$out" 2>"$err"
	status=$?
	last_run="hostel $*"
}

# The same after lines that told of progress.
gave_up()
{
	[ "$status" = 125 ] && tail -n 1 "$err" | grep -q -e "$1"
}

truncate -s 1M "$tmp/disk.img"
printf '\125\252' | dd of="$tmp/disk.img" bs=1 seek=510 conv=notrunc 2>/dev/null

cli image list
ok "an empty store" is "$status" 0
cli image info none
ok "no such image" refused "no image 'none'"
cli run none
ok "nor can it be run" refused "no image 'none'"
cli image build debian:3
ok "a release that cannot be built" refused "debian:12"
cli image build debian:12 --user 'x; y'
ok "a user that is none" refused "--user"
cli image build debian:12 --packages 'a b'
ok "packages with blanks" refused "--packages"
cli image build debian:12 --size 1M
ok "a size that is too small" refused "--size"
cli image import "$tmp"
ok "a directory is no image" refused "no disk image"
cli image pull ftp://host/file
ok "not by http" refused "http"
cli image pull http://127.0.0.1:1/x.qcow2
ok "no checksum" gave_up "SHA512SUMS"
cli image pull http://127.0.0.1:1/x.qcow2 --no-verify
ok "nobody there" gave_up "cannot fetch"
ok "nothing was kept" is "$(ls "$HOSTEL_HOME/images/tmp")" ""

# Over HTTP, with the lists of checksums that people put beside images.
if command -v curl >/dev/null; then
	mkdir "$tmp/www"
	cp "$tmp/disk.img" "$tmp/www/good.img"
	cp "$tmp/disk.img" "$tmp/www/bad.img"
	(cd "$tmp/www" && sha512sum good.img bad.img >SHA512SUMS)
	echo more >>"$tmp/www/bad.img"
	python3 - "$tmp/www" >"$tmp/port" 2>/dev/null <<'END' &
import functools, http.server, sys
handler = functools.partial(http.server.SimpleHTTPRequestHandler,
                            directory=sys.argv[1])
server = http.server.HTTPServer(('127.0.0.1', 0), handler)
print(server.server_port, flush=True)
server.serve_forever()
END
	server=$!
	for try in 1 2 3 4 5 6 7 8 9 10 11 12; do
		[ ! -s "$tmp/port" ] || break
		sleep 0.5
	done
	url=http://127.0.0.1:$(cat "$tmp/port")
	cli image pull "$url/bad.img"
	ok "a wrong checksum" gave_up "nothing was kept"
	ok "nothing was" is "$(ls "$HOSTEL_HOME/images/blobs")" ""
	cli image pull "$url/none.img" --no-verify
	ok "no such file" gave_up "404"
	cli image pull "$url/good.img" --name pulled
	ok "a right checksum" is "$status" 0
	cli image info pulled
	ok "where it is from" said "^source .*good.img"
	cli image remove pulled
	kill "$server"
fi

cli image import "$tmp/disk.img" test:1
ok "import" is "$status" 0
cli image list
ok "it is listed" said "^test:1 "
cli image verify test:1
ok "it is whole" is "$status" 0
cli run test:1 --name a/b
ok "a name that is none" refused "--name"
cli run test:1 --disk-size 512
ok "a disk smaller than the image" refused "--disk-size"
cli run test:1 --ssh-key "$tmp/none"
ok "a key that is not there" refused "--ssh-key"
ok "no guest was left" is "$(ls "$HOSTEL_HOME/guests")" ""
cli run --ssh-port 2222
ok "an option that goes with images" refused "--ssh-port"
cli start nobody
ok "no such guest" refused "no guest nobody"
cli ssh nobody
ok "nor by ssh" refused "no guest nobody"
cli rm nobody
ok "nor to be removed" refused "no guest nobody"

cli run test:1 --timeout 1 --engine "$ENGINE"
ok "a disk that boots nothing runs until the limit" is "$status" 124
ok "its guest stays" test -s "$HOSTEL_HOME/guests/test-1/disk.qcow2"
cli list
ok "and is listed" said "^test-1 .*stopped"
for i in 1 2 3 4 5; do
	"$HOSTEL" start test-1 --engine "$ENGINE" <"$input" >/dev/null 2>&1 &
	runner=$!
	for try in $(seq 100); do
		"$HOSTEL" list 2>/dev/null | grep -q '^test-1 .*running' && break
		sleep 0.1
	done
	kill -STOP "$runner" # a host that is busy
	(sleep 0.2; kill -CONT "$runner") &
	cli stop test-1 --now
	cli start test-1 --timeout 0.1 --engine "$ENGINE"
	[ "$status" = 124 ] || break
done
ok "a guest that was stopped can be started at once" is "$status" 124
cli image remove test:1
ok "the image's name goes" is "$status" 0
ok "its bytes do not: a guest has them" is "$(ls "$HOSTEL_HOME/images/blobs" |
	wc -l)" 1
cli rm test-1
ok "with the guest they go" is "$(ls "$HOSTEL_HOME/images/blobs")" ""
finish
