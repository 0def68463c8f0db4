/* p9_msg.c - numbers and strings of 9P messages, all little-endian. */
#include <string.h>

#include "dev/virtio/p9_impl.h"

uint64_t p9_get(struct p9_msg *m, unsigned bytes)
{
	uint64_t v = 0;

	if (m->bad || m->end - m->at < bytes) {
		m->bad = true;
		return 0;
	}
	for (unsigned i = 0; i < bytes; i++)
		v |= (uint64_t)m->buf[m->at + i] << i * 8;
	m->at += bytes;
	return v;
}

bool p9_get_string(struct p9_msg *m, char *s, size_t size)
{
	uint32_t len = (uint32_t)p9_get(m, 2);

	s[0] = '\0';
	if (m->bad || m->end - m->at < len) {
		m->bad = true;
		return false;
	}
	m->at += len;
	if (len >= size || memchr(m->buf + m->at - len, '\0', len))
		return false;
	memcpy(s, m->buf + m->at - len, len);
	s[len] = '\0';
	return true;
}

bool p9_get_name(struct p9_msg *m, char name[P9_NAME_MAX + 1])
{
	return p9_get_string(m, name, P9_NAME_MAX + 1) && name[0] &&
	       !strchr(name, '/') && strcmp(name, ".") && strcmp(name, "..");
}

void p9_put(struct p9_msg *m, uint64_t value, unsigned bytes)
{
	if (m->bad || m->end - m->at < bytes) {
		m->bad = true;
		return;
	}
	for (unsigned i = 0; i < bytes; i++)
		m->buf[m->at + i] = (uint8_t)(value >> i * 8);
	m->at += bytes;
}

void p9_put_string(struct p9_msg *m, const char *s)
{
	size_t len = strlen(s);

	p9_put(m, len, 2);
	if (m->bad || m->end - m->at < len) {
		m->bad = true;
		return;
	}
	memcpy(m->buf + m->at, s, len);
	m->at += (uint32_t)len;
}
