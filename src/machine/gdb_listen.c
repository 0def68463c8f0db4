/* gdb_listen.c - see gdb_listen.h. */
#include "machine/gdb_listen.h"

#include <errno.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int gdb_bad_where(const char *where, struct err *err)
{
	return err_set(err, EINVAL,
		       "--gdb %s: give a port, or an address and a port as in "
		       "127.0.0.1:1234",
		       where);
}

int gdb_parse_where(const char *where, char addr[256], char port[8],
		    struct err *err)
{
	const char *colon = strrchr(where, ':');
	const char *p = colon ? colon + 1 : where, *from = where;
	size_t n = colon ? (size_t)(colon - where) : 0, digits = strlen(p);

	if (!digits || digits > 5 || strspn(p, "0123456789") != digits ||
	    strtoul(p, NULL, 10) > UINT16_MAX || (colon && !n))
		return gdb_bad_where(where, err);
	if (n > 2 && where[0] == '[' && where[n - 1] == ']') {
		from++;
		n -= 2;
	} else if (memchr(where, ':', n)) {
		return gdb_bad_where(where, err);
	}
	if (n >= 256)
		return gdb_bad_where(where, err);
	strcpy(port, p);
	memcpy(addr, from, n);
	addr[n] = 0;
	if (!n)
		strcpy(addr, "127.0.0.1");
	return 0;
}

static int gdb_bind(const struct addrinfo *a)
{
	int one = 1, rc;
	int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC,
			a->ai_protocol);

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, a->ai_addr, a->ai_addrlen) || listen(fd, 1)) {
		rc = -errno;
		close(fd);
		return rc;
	}
	return fd;
}

int gdb_listen(const char *where, struct err *err)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list, *a;
	char addr[256], port[8];
	int rc = gdb_parse_where(where, addr, port, err);

	if (rc)
		return rc;
	rc = getaddrinfo(addr, port, &hints, &list);
	if (rc)
		return err_set(err, EINVAL, "--gdb %s: %s is no address: %s",
			       where, addr, gai_strerror(rc));
	rc = -EADDRNOTAVAIL;
	for (a = list; a && rc < 0; a = a->ai_next)
		rc = gdb_bind(a);
	freeaddrinfo(list);
	if (rc < 0)
		err_set(err, -rc,
			"cannot listen for gdb on %s port %s: %s; choose "
			"another port with --gdb",
			addr, port, strerror(-rc));
	return rc;
}
