/* gdb_listen.h - where --gdb listens. */
#ifndef HOSTEL_MACHINE_GDB_LISTEN_H
#define HOSTEL_MACHINE_GDB_LISTEN_H

#include "base/err.h"

/* "[ADDR:]PORT", ADDR an IPv4 address, a [v6] address or a name. */
int gdb_parse_where(const char *where, char addr[256], char port[8],
		    struct err *err);

/* A listening socket; -errno with a sentence: bad address, port in use. */
int gdb_listen(const char *where, struct err *err);

#endif
