#!/bin/sh
# run.sh HOSTEL ENGINE GUEST STATUS [OPTION...] - one guest on one engine.
hostel=$1 engine=$2 guest=$3 want=$4
shift 4
if [ "$engine" = kvm ] && ! [ -w /dev/kvm ]; then
	echo "run.sh: no /dev/kvm that may be used"
	exit 77
fi
"$hostel" run --kernel "$guest" --engine "$engine" --memory 64M \
	--console stdio --timeout 60 --no-reboot "$@" </dev/null
got=$?
[ "$got" = "$want" ] && exit 0
echo "run.sh: status $got, want $want" >&2
exit 1
