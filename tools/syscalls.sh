#!/bin/sh
# syscalls.sh DIR - a C table of the system calls that the comments
# "#syscalls: NAME..." under DIR name (src/vmm/sandbox.h).
echo "/* Made by tools/syscalls.sh. */"
echo "static const char *const sandbox_allowed[] = {"
grep -rhoE --include='*.c' '#syscalls: [a-z0-9_ ]+' "$1" | cut -d: -f2 |
	tr ' ' '\n' | sed '/^$/d' | sort -u | sed 's/.*/	"&",/'
echo "	NULL,"
echo "};"
