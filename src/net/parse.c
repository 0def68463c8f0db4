/* parse.c - what people write about networks: forwards, MAC addresses. */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net/net.h"

/* --- Forwards ------------------------------------------------------------- */

static int parse_bad_forward(const char *s, struct err *err)
{
	return err_set(err, EINVAL,
		       "'%.64s' is not [ADDR:]HOSTPORT:GUESTPORT[/udp]; as in "
		       "8080:80",
		       s);
}

/* 1..65535 from the `len` digits at s; 0: it is not. */
static uint16_t parse_port(const char *s, size_t len)
{
	unsigned n = 0;

	if (!len || len > 5)
		return 0;
	for (size_t i = 0; i < len; i++) {
		if (!isdigit((unsigned char)s[i]))
			return 0;
		n = n * 10 + (unsigned)(s[i] - '0');
	}
	return n <= 65535 ? (uint16_t)n : 0;
}

static int parse_protocol(struct net_forward *f, const char **end)
{
	const char *slash = strchr(*end, '/');

	if (!slash) {
		*end += strlen(*end);
		return 0;
	}
	*end = slash;
	f->udp = !strcmp(slash, "/udp");
	return f->udp || !strcmp(slash, "/tcp") ? 0 : -EINVAL;
}

/* "[::1]" or "127.0.0.1", len bytes, without what follows. */
static int parse_address(struct net_forward *f, const char *s, size_t len)
{
	uint8_t scratch[16];
	int family = AF_INET;

	if (len >= 2 && s[0] == '[' && s[len - 1] == ']') {
		family = AF_INET6;
		s++;
		len -= 2;
	}
	if (!len || len >= sizeof(f->host_addr))
		return -EINVAL;
	memcpy(f->host_addr, s, len);
	f->host_addr[len] = '\0';
	return inet_pton(family, f->host_addr, scratch) == 1 ? 0 : -EINVAL;
}

static const char *parse_last_colon(const char *s, const char *end)
{
	while (end > s)
		if (*--end == ':')
			return end;
	return NULL;
}

int net_parse_forward(struct net_forward *f, const char *s, struct err *err)
{
	const char *end = s, *guest, *host;

	*f = (struct net_forward){ .host_addr = "127.0.0.1" };
	if (parse_protocol(f, &end))
		return parse_bad_forward(s, err);
	guest = parse_last_colon(s, end);
	if (!guest)
		return parse_bad_forward(s, err);
	host = parse_last_colon(s, guest);
	f->guest_port = parse_port(guest + 1, (size_t)(end - guest - 1));
	if (host && parse_address(f, s, (size_t)(host - s)))
		return parse_bad_forward(s, err);
	host = host ? host + 1 : s;
	f->host_port = parse_port(host, (size_t)(guest - host));
	if (!f->guest_port || !f->host_port)
		return parse_bad_forward(s, err);
	return 0;
}

/* --- MAC addresses -------------------------------------------------------- */

/* FNV-1a, 64 bits: spreads names well and is the same everywhere. */
static uint64_t parse_hash(const char *s, unsigned index)
{
	uint64_t h = 0xcbf29ce484222325;

	for (; *s; s++)
		h = (h ^ (unsigned char)*s) * 0x100000001b3;
	return (h ^ (index + 256u)) * 0x100000001b3;
}

void net_mac_from_name(uint8_t mac[NET_MAC_LEN], const char *name,
		       unsigned index)
{
	uint64_t h = parse_hash(name, index);

	h ^= h >> 29;
	mac[0] = 0x52; /* bit 1: locally administered; bit 0: one station */
	for (unsigned i = 1; i < NET_MAC_LEN; i++)
		mac[i] = (uint8_t)(h >> (8 * i));
}

int net_parse_mac(uint8_t mac[NET_MAC_LEN], const char *s, struct err *err)
{
	char *end = (char *)s;

	for (unsigned i = 0; i < NET_MAC_LEN; i++) {
		const char *at = i ? end + 1 : s;
		unsigned long n;

		if ((i && *end != ':') || !isxdigit((unsigned char)at[0]) ||
		    !isxdigit((unsigned char)at[1]))
			goto bad;
		n = strtoul(at, &end, 16);
		if (end != at + 2)
			goto bad;
		mac[i] = (uint8_t)n;
	}
	if (!*end && !(mac[0] & 1))
		return 0;
bad:
	return err_set(err, EINVAL,
		       "mac=%.32s is not the address of one network card; "
		       "write it as in 52:54:00:12:34:56",
		       s);
}
