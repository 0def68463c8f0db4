/*
 * switch.c - the switch.
 *
 * Theory of operation
 *
 * The address table is SWITCH_SETS sets of SWITCH_WAYS entries, found by a
 * hash of address and VLAN under a secret, so that nobody can choose a set.
 * An entry that is needed takes the place of the oldest of its set.  A port
 * that holds SWITCH_PORT_MACS entries learns no more: its further addresses
 * are flooded, which costs the sender's own VLAN only.
 *
 * A frame may be needed in two forms, with a tag and without; the other form
 * is made once, in `other`, when the first port asks for it.
 */
#include "net/switch.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "net/packet.h"

#define SWITCH_SETS 1024
#define SWITCH_WAYS 4
#define SWITCH_TAG  4 /* bytes */

struct switch_entry {
	uint8_t mac[NET_MAC_LEN];
	uint16_t vlan;
	uint16_t port;
	bool used;
	uint64_t seen;
};

struct switch_port {
	bool used;
	struct switch_port_config config;
	struct bucket in, out;
	unsigned macs;
};

/* A frame on its way, in both forms. */
struct switch_form {
	struct net_hdr hdr;
	uint8_t *frame; /* NULL: not made yet */
	size_t len;
};

struct switch_core {
	switch_emit *emit;
	void *opaque;
	uint64_t secret;
	struct switch_port port[SWITCH_PORTS_MAX];
	unsigned ports; /* one more than the highest in use */
	struct switch_entry table[SWITCH_SETS][SWITCH_WAYS];
	uint8_t other[NET_FRAME_MAX + SWITCH_TAG];
};

/* --- Ports ---------------------------------------------------------------- */

int switch_parse_trunk(struct switch_port_config *c, const char *list,
		       struct err *err)
{
	const char *at = list;
	char *end;

	c->trunk = true;
	do {
		unsigned long vlan = strtoul(at, &end, 10);

		if (!isdigit((unsigned char)*at) || !vlan || vlan > 4094 ||
		    (*end && *end != '+'))
			return err_set(err, EINVAL,
				       "trunk=%.64s is not a list of VLANs (1 "
				       "to 4094); write it as in 10+20",
				       list);
		c->carried[vlan / 32] |= 1u << vlan % 32;
		at = end + 1;
	} while (*end);
	return 0;
}

struct switch_core *switch_new(switch_emit *emit, void *opaque)
{
	struct switch_core *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->emit = emit;
	s->opaque = opaque;
	if (getrandom(&s->secret, sizeof(s->secret), 0) < 0)
		s->secret = (uintptr_t)s;
	return s;
}

void switch_free(struct switch_core *s)
{
	free(s);
}

int switch_add_port(struct switch_core *s, const struct switch_port_config *c)
{
	unsigned n = 0;

	if (c->vlan > 4094)
		return -EINVAL;
	while (n < SWITCH_PORTS_MAX && s->port[n].used)
		n++;
	if (n == SWITCH_PORTS_MAX)
		return -ENOSPC;
	s->port[n] = (struct switch_port){ .used = true, .config = *c };
	bucket_init(&s->port[n].in, c->rate, c->burst);
	bucket_init(&s->port[n].out, c->rate, c->burst);
	if (n >= s->ports)
		s->ports = n + 1;
	return (int)n;
}

void switch_remove_port(struct switch_core *s, unsigned port)
{
	for (unsigned i = 0; i < SWITCH_SETS; i++)
		for (unsigned w = 0; w < SWITCH_WAYS; w++)
			if (s->table[i][w].port == port)
				s->table[i][w].used = false;
	s->port[port].used = false;
}

bool switch_ready(const struct switch_core *s, unsigned port, uint64_t now,
		  uint64_t *when)
{
	*when = bucket_when(&s->port[port].in);
	return bucket_ready(&s->port[port].in, now);
}

bool switch_may_go(struct switch_core *s, unsigned port, uint64_t now,
		   size_t len, uint64_t *when)
{
	struct bucket *b = &s->port[port].out;

	*when = bucket_when(b);
	if (!bucket_ready(b, now))
		return false;
	bucket_take(b, now, len);
	return true;
}

/* --- Addresses ------------------------------------------------------------ */

static struct switch_entry *switch_set(struct switch_core *s,
				       const uint8_t *mac, uint16_t vlan)
{
	uint64_t key = (uint64_t)vlan << 48;

	for (unsigned i = 0; i < NET_MAC_LEN; i++)
		key |= (uint64_t)mac[i] << (8 * i);
	key = (key ^ s->secret) * 0x9e3779b97f4a7c15;
	key ^= key >> 32;
	key *= 0xbf58476d1ce4e5b9;
	return s->table[(key >> 40) % SWITCH_SETS];
}

static bool switch_alive(const struct switch_entry *e, uint64_t now)
{
	return e->used && now - e->seen < SWITCH_AGE_NS;
}

static struct switch_entry *switch_find(struct switch_core *s,
					const uint8_t *mac, uint16_t vlan)
{
	struct switch_entry *set = switch_set(s, mac, vlan);

	for (unsigned w = 0; w < SWITCH_WAYS; w++)
		if (set[w].used && set[w].vlan == vlan &&
		    !memcmp(set[w].mac, mac, NET_MAC_LEN))
			return &set[w];
	return NULL;
}

static void switch_forget(struct switch_core *s, struct switch_entry *e)
{
	if (e->used)
		s->port[e->port].macs--;
	e->used = false;
}

/* The entry that is free, too old, or else the oldest. */
static struct switch_entry *switch_victim(struct switch_entry *set,
					  uint64_t now)
{
	struct switch_entry *old = set;

	for (unsigned w = 0; w < SWITCH_WAYS; w++) {
		if (!switch_alive(&set[w], now))
			return &set[w];
		if (set[w].seen < old->seen)
			old = &set[w];
	}
	return old;
}

static void switch_learn(struct switch_core *s, unsigned port, uint64_t now,
			 const uint8_t *mac, uint16_t vlan)
{
	struct switch_entry *e = switch_find(s, mac, vlan);

	if (packet_is_group(mac))
		return;
	if (e && e->port == port) {
		e->seen = now;
		return;
	}
	if (s->port[port].macs >= SWITCH_PORT_MACS)
		return;
	if (!e)
		e = switch_victim(switch_set(s, mac, vlan), now);
	switch_forget(s, e);
	*e = (struct switch_entry){
		.vlan = vlan, .port = (uint16_t)port, .used = true, .seen = now
	};
	memcpy(e->mac, mac, NET_MAC_LEN);
	s->port[port].macs++;
}

/* --- Forms ---------------------------------------------------------------- */

static void switch_shift(struct net_hdr *hdr, int by)
{
	hdr->hdr_len = (uint16_t)(hdr->hdr_len + by);
	if (hdr->flags & NET_HDR_NEEDS_CSUM)
		hdr->csum_start = (uint16_t)(hdr->csum_start + by);
}

static void switch_make_tagged(struct switch_core *s, struct switch_form *to,
			       const struct switch_form *from, uint16_t vlan)
{
	uint8_t *out = s->other;

	memcpy(out, from->frame, 12);
	packet_put16(out + 12, ETH_TYPE_VLAN);
	packet_put16(out + 14, vlan);
	memcpy(out + 16, from->frame + 12, from->len - 12);
	*to = (struct switch_form){ from->hdr, out, from->len + SWITCH_TAG };
	switch_shift(&to->hdr, SWITCH_TAG);
}

static void switch_make_plain(struct switch_core *s, struct switch_form *to,
			      const struct switch_form *from)
{
	uint8_t *out = s->other;

	memcpy(out, from->frame, 12);
	memcpy(out + 12, from->frame + 16, from->len - 16);
	*to = (struct switch_form){ from->hdr, out, from->len - SWITCH_TAG };
	switch_shift(&to->hdr, -SWITCH_TAG);
}

/* --- Forwarding ----------------------------------------------------------- */

struct switch_flight {
	unsigned from;
	uint16_t vlan;
	bool tagged;                /* how it came */
	struct switch_form form[2]; /* plain, tagged */
};

static void switch_out(struct switch_core *s, struct switch_flight *f,
		       unsigned port, bool tagged)
{
	struct switch_form *form = &f->form[tagged];

	if (!form->frame && tagged)
		switch_make_tagged(s, form, &f->form[0], f->vlan);
	else if (!form->frame)
		switch_make_plain(s, form, &f->form[1]);
	if (form->len <= NET_FRAME_MAX)
		s->emit(s->opaque, port, &form->hdr, form->frame, form->len);
}

static bool switch_carries(const struct switch_port *p, uint16_t vlan)
{
	return p->config.trunk && p->config.carried[vlan / 32] >> vlan % 32 & 1;
}

/* One port's turn; it may not carry the VLAN at all. */
static void switch_offer(struct switch_core *s, struct switch_flight *f,
			 unsigned port)
{
	const struct switch_port *p = &s->port[port];

	if (!p->used || port == f->from)
		return;
	if (p->config.mirror)
		switch_out(s, f, port, f->vlan != 0);
	else if (switch_carries(p, f->vlan))
		switch_out(s, f, port, true);
	else if (p->config.vlan == f->vlan)
		switch_out(s, f, port, false);
}

/* 802.1Q, 8.6: which VLAN a frame is of, if the port lets it in. */
static bool switch_classify(const struct switch_port *p,
			    const struct packet_info *i, uint16_t *vlan)
{
	/* A tag with VLAN 0 holds a priority, no VLAN. */
	if (!i->tagged || i->vlan == 0) {
		*vlan = p->config.vlan;
		return true;
	}
	*vlan = i->vlan;
	return switch_carries(p, i->vlan);
}

static void switch_mirror(struct switch_core *s, struct switch_flight *f)
{
	for (unsigned n = 0; n < s->ports; n++)
		if (s->port[n].config.mirror)
			switch_offer(s, f, n);
}

void switch_frame(struct switch_core *s, unsigned port, uint64_t now,
		  const struct net_hdr *hdr, uint8_t *frame, size_t len)
{
	const struct packet p = { frame, len };
	struct switch_flight f = { .from = port };
	struct switch_entry *to;
	struct packet_info i;

	if (len > NET_FRAME_MAX || !packet_parse(&p, &i) ||
	    !switch_classify(&s->port[port], &i, &f.vlan))
		return;
	f.tagged = i.tagged;
	f.form[f.tagged] = (struct switch_form){ *hdr, frame, len };
	bucket_take(&s->port[port].in, now, len);
	switch_learn(s, port, now, frame + NET_MAC_LEN, f.vlan);
	to = packet_is_group(frame) ? NULL : switch_find(s, frame, f.vlan);
	if (!to || !switch_alive(to, now)) {
		for (unsigned n = 0; n < s->ports; n++)
			switch_offer(s, &f, n);
		return;
	}
	switch_mirror(s, &f);
	if (!s->port[to->port].config.mirror)
		switch_offer(s, &f, to->port);
}
