/*
 * workload.c - list, matrix, state machine, CRC: a freestanding program.
 */
#include "workload.h"

#define WORKLOAD_NODES 96
#define WORKLOAD_DIM   10
#define WORKLOAD_TEXT  512

struct workload_node {
	struct workload_node *next;
	int16_t key, value;
};

struct workload_state {
	struct workload_node nodes[WORKLOAD_NODES];
	int16_t a[WORKLOAD_DIM][WORKLOAD_DIM], b[WORKLOAD_DIM][WORKLOAD_DIM];
	int32_t c[WORKLOAD_DIM][WORKLOAD_DIM];
	char text[WORKLOAD_TEXT];
	uint32_t seed;
	uint16_t crc;
};

_Static_assert(sizeof(struct workload_state) <= WORKLOAD_SIZE, "scratch");

static uint32_t workload_random(struct workload_state *s)
{
	s->seed = s->seed * 1664525 + 1013904223;
	return s->seed >> 8;
}

/* Bit by bit, as the classic does. */
static void workload_crc(struct workload_state *s, uint32_t v)
{
	unsigned i;

	for (i = 0; i < 16; i++, v >>= 1)
		if ((v ^ s->crc) & 1)
			s->crc = (uint16_t)(s->crc >> 1 ^ 0xa001);
		else
			s->crc >>= 1;
}

/* --- List ---------------------------------------------------------------- */

static struct workload_node *workload_merge(struct workload_node *a,
					    struct workload_node *b)
{
	struct workload_node head, *tail = &head;

	while (a && b) {
		struct workload_node **p = a->key <= b->key ? &a : &b;

		tail = tail->next = *p;
		*p = (*p)->next;
	}
	tail->next = a ? a : b;
	return head.next;
}

static struct workload_node *workload_sort(struct workload_node *list)
{
	struct workload_node *slow = list, *fast = list, *half;

	if (!list || !list->next)
		return list;
	while (fast->next && fast->next->next) {
		slow = slow->next;
		fast = fast->next->next;
	}
	half = slow->next;
	slow->next = 0;
	return workload_merge(workload_sort(list), workload_sort(half));
}

static void workload_list(struct workload_state *s)
{
	struct workload_node *n;
	unsigned i, found = 0;

	for (i = 0; i < WORKLOAD_NODES; i++) {
		n = &s->nodes[i];
		n->next = i + 1 < WORKLOAD_NODES ? n + 1 : 0;
		n->key = (int16_t)workload_random(s);
		n->value = (int16_t)i;
	}
	n = workload_sort(s->nodes);
	for (i = 0; n; n = n->next, i++)
		if (n->value & 1 && n->key > (int16_t)i)
			found++;
	workload_crc(s, found);
}

/* --- Matrix -------------------------------------------------------------- */

static void workload_matrix(struct workload_state *s)
{
	int32_t sum = 0;
	unsigned i, j, k;

	for (i = 0; i < WORKLOAD_DIM; i++)
		for (j = 0; j < WORKLOAD_DIM; j++) {
			s->a[i][j] = (int16_t)workload_random(s);
			s->b[i][j] = (int16_t)(i * j);
		}
	for (i = 0; i < WORKLOAD_DIM; i++)
		for (j = 0; j < WORKLOAD_DIM; j++) {
			s->c[i][j] = 0;
			for (k = 0; k < WORKLOAD_DIM; k++)
				s->c[i][j] += s->a[i][k] * s->b[k][j];
			sum += s->c[i][j] >> 4;
		}
	workload_crc(s, (uint32_t)sum);
}

/* --- State machine ------------------------------------------------------- */

enum workload_token { START, INT, FRACTION, EXPONENT, WORD, BAD, TOKENS };

static enum workload_token workload_next(enum workload_token t, char c)
{
	switch (t) {
	case START:
	case INT:
		if (c >= '0' && c <= '9')
			return INT;
		if (c == '.')
			return FRACTION;
		return t == INT && c == 'e' ? EXPONENT : WORD;
	case FRACTION:
		return c == 'e' ? EXPONENT : c >= '0' && c <= '9' ? t : BAD;
	case EXPONENT:
		return c >= '0' && c <= '9' ? t : BAD;
	default:
		return t;
	}
}

static void workload_scan(struct workload_state *s)
{
	static const char alphabet[16] = "0123456789.e,ab,";
	enum workload_token t = START;
	uint32_t counts[TOKENS] = { 0 };
	unsigned i;

	for (i = 0; i < WORKLOAD_TEXT; i++)
		s->text[i] = alphabet[workload_random(s) & 15];
	for (i = 0; i < WORKLOAD_TEXT; i++) {
		if (s->text[i] == ',') {
			counts[t]++;
			t = START;
		} else {
			t = workload_next(t, s->text[i]);
		}
	}
	for (i = 0; i < TOKENS; i++)
		workload_crc(s, counts[i]);
}

__attribute__((section(".text.entry"))) uint32_t workload(void *scratch,
							  uint32_t rounds)
{
	struct workload_state *s = scratch;

	s->seed = 1;
	s->crc = 0xffff;
	while (rounds--) {
		workload_list(s);
		workload_matrix(s);
		workload_scan(s);
	}
	return s->crc;
}
