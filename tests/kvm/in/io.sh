#!/bin/sh
# io.sh - runs in a guest in the machine of nest.sh: a virtio disk and network.
ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0
echo "T disk $(sha256sum </dev/vda | cut -c 1-64)"
wget -q -O /tmp/file http://10.0.2.2:8080/file &&
	echo "T net $(sha256sum </tmp/file | cut -c 1-64)"
dd if=/tmp/file of=/dev/vdb bs=64k conv=fsync 2>/dev/null && echo "T wrote"
echo "T msi $(grep -c 'MSI.*virtio' /proc/interrupts)"
