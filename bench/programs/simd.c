/*
 * simd.c - floating point, AVX2, SHA-256 and AES with the CPU's instructions.
 *
 * Each asks CPUID and has a portable form, as libraries do: where a guest's
 * processor lacks an instruction, the row shows what that costs.  Both forms
 * give the same result, bit for bit.
 */
#include <cpuid.h>
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "bench.h"

/* --- Planets: SSE2 doubles ---------------------------------------------- */

#define NBODY_COUNT 5

struct nbody {
	double at[3], v[3], mass;
};

static void nbody_step(struct nbody *b, double dt)
{
	for (unsigned i = 0; i < NBODY_COUNT; i++)
		for (unsigned j = i + 1; j < NBODY_COUNT; j++) {
			double d[3], square = 0.01, scale;

			for (unsigned k = 0; k < 3; k++) {
				d[k] = b[i].at[k] - b[j].at[k];
				square += d[k] * d[k];
			}
			scale = dt / (square * sqrt(square));
			for (unsigned k = 0; k < 3; k++) {
				b[i].v[k] -= d[k] * b[j].mass * scale;
				b[j].v[k] += d[k] * b[i].mass * scale;
			}
		}
	for (unsigned i = 0; i < NBODY_COUNT; i++)
		for (unsigned k = 0; k < 3; k++)
			b[i].at[k] += dt * b[i].v[k];
}

uint64_t bench_nbody(uint64_t n)
{
	struct nbody b[NBODY_COUNT];
	uint32_t seed = 3;

	for (unsigned i = 0; i < NBODY_COUNT; i++) {
		for (unsigned k = 0; k < 3; k++) {
			b[i].at[k] = bench_random(&seed) / 4294967296.0;
			b[i].v[k] = 0;
		}
		b[i].mass = 1.0 / (i + 1);
	}
	for (uint64_t i = 0; i < n; i++)
		nbody_step(b, 0.001);
	return bench_sum(BENCH_SUM_START, b, sizeof(b));
}

/* --- Matrix product: AVX2 and FMA ---------------------------------------- */

#define MATRIX_DIM 64

typedef double matrix[MATRIX_DIM][MATRIX_DIM];

__attribute__((target("avx2,fma"))) static void
matrix_row_avx2(double *restrict c, double a, const double *restrict b)
{
	__m256d all = _mm256_set1_pd(a);

	for (unsigned j = 0; j < MATRIX_DIM; j += 4)
		_mm256_storeu_pd(c + j,
				 _mm256_fmadd_pd(all, _mm256_loadu_pd(b + j),
						 _mm256_loadu_pd(c + j)));
}

static void matrix_row(double *restrict c, double a, const double *restrict b)
{
	for (unsigned j = 0; j < MATRIX_DIM; j++)
		c[j] = fma(a, b[j], c[j]);
}

uint64_t bench_matrix(uint64_t n)
{
	static matrix a, b, c;
	uint32_t seed = 5;
	int fast =
		__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");

	for (unsigned i = 0; i < MATRIX_DIM; i++)
		for (unsigned j = 0; j < MATRIX_DIM; j++) {
			a[i][j] = bench_random(&seed) / 4294967296.0;
			b[i][j] = bench_random(&seed) / 4294967296.0;
		}
	memset(c, 0, sizeof(c));
	for (uint64_t r = 0; r < n; r++)
		for (unsigned i = 0; i < MATRIX_DIM; i++)
			for (unsigned k = 0; k < MATRIX_DIM; k++)
				(fast ? matrix_row_avx2
				      : matrix_row)(c[i], a[i][k], b[k]);
	return bench_sum(BENCH_SUM_START, c, sizeof(c));
}

/* --- SHA-256 ------------------------------------------------------------- */

#define SHA_BYTES (64u << 10)

static const uint32_t sha_k[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1,
	0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3,
	0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
	0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
	0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
	0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
	0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
	0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
	0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t sha_ror(uint32_t x, unsigned n)
{
	return x >> n | x << (32 - n);
}

/* FIPS 180-4, 6.2.2 */
static void sha_block(uint32_t h[8], const uint8_t *data)
{
	uint32_t w[64], s[8];

	memcpy(s, h, sizeof(s));
	for (unsigned t = 0; t < 64; t++) {
		uint32_t s0, s1, t1, t2;

		if (t < 16) {
			memcpy(&w[t], data + 4 * t, 4);
			w[t] = __builtin_bswap32(w[t]);
		} else {
			s0 = sha_ror(w[t - 15], 7) ^ sha_ror(w[t - 15], 18) ^
			     w[t - 15] >> 3;
			s1 = sha_ror(w[t - 2], 17) ^ sha_ror(w[t - 2], 19) ^
			     w[t - 2] >> 10;
			w[t] = w[t - 16] + s0 + w[t - 7] + s1;
		}
		t1 = s[7] +
		     (sha_ror(s[4], 6) ^ sha_ror(s[4], 11) ^
		      sha_ror(s[4], 25)) +
		     ((s[4] & s[5]) ^ (~s[4] & s[6])) + sha_k[t] + w[t];
		t2 = (sha_ror(s[0], 2) ^ sha_ror(s[0], 13) ^
		      sha_ror(s[0], 22)) +
		     ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
		memmove(s + 1, s, 7 * sizeof(*s));
		s[4] += t1;
		s[0] = t1 + t2;
	}
	for (unsigned i = 0; i < 8; i++)
		h[i] += s[i];
}

/*
 * SHA256RNDS2 wants the state as {A,B,E,F} and {C,D,G,H}, highest first, and
 * does two rounds; SHA256MSG1 and MSG2 make the next four words of w.
 */
__attribute__((target("sha,sse4.1,ssse3"))) static void
sha_block_ni(uint32_t h[8], const uint8_t *data)
{
	const __m128i swap = _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6,
					  7, 0, 1, 2, 3);
	__m128i abef =
		_mm_set_epi32((int)h[0], (int)h[1], (int)h[4], (int)h[5]);
	__m128i cdgh =
		_mm_set_epi32((int)h[2], (int)h[3], (int)h[6], (int)h[7]);
	__m128i abef0 = abef, cdgh0 = cdgh, w[4];
	uint32_t out[8];

	for (unsigned i = 0; i < 4; i++)
		w[i] = _mm_shuffle_epi8(
			_mm_loadu_si128((const __m128i *)(data + 16 * i)),
			swap);
	for (unsigned t = 0; t < 16; t++) {
		__m128i now = w[0], wk, next;

		wk = _mm_add_epi32(
			now, _mm_loadu_si128((const __m128i *)&sha_k[4 * t]));
		cdgh = _mm_sha256rnds2_epu32(cdgh, abef, wk);
		abef = _mm_sha256rnds2_epu32(abef, cdgh,
					     _mm_shuffle_epi32(wk, 0x0e));
		next = _mm_add_epi32(_mm_sha256msg1_epu32(now, w[1]),
				     _mm_alignr_epi8(w[3], w[2], 4));
		w[0] = w[1];
		w[1] = w[2];
		w[2] = w[3];
		w[3] = _mm_sha256msg2_epu32(next, w[3]);
	}
	abef = _mm_add_epi32(abef, abef0);
	cdgh = _mm_add_epi32(cdgh, cdgh0);
	_mm_storeu_si128((__m128i *)out, abef);
	_mm_storeu_si128((__m128i *)(out + 4), cdgh);
	h[0] = out[3], h[1] = out[2], h[4] = out[1], h[5] = out[0];
	h[2] = out[7], h[3] = out[6], h[6] = out[5], h[7] = out[4];
}

static int simd_has_sha(void)
{
	unsigned a, b, c, d;

	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && b >> 29 & 1;
}

/* One operation: the digest's state over 64 KiB, without the padding. */
uint64_t bench_sha256(uint64_t n)
{
	static uint8_t data[SHA_BYTES];
	uint32_t h[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
			  0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };
	int fast = simd_has_sha();

	for (unsigned i = 0; i < SHA_BYTES; i++)
		data[i] = (uint8_t)(i * 7);
	for (uint64_t r = 0; r < n; r++)
		for (unsigned i = 0; i < SHA_BYTES; i += 64)
			(fast ? sha_block_ni : sha_block)(h, data + i);
	return bench_sum(BENCH_SUM_START, h, sizeof(h));
}

/* --- AES-128-CTR with POLYVAL (RFC 8452) as the authenticator ------------- */

#define AES_BYTES (64u << 10)

__attribute__((target("aes,sse4.1"))) static __m128i
aes_next_key(__m128i key, __m128i assist)
{
	key = _mm_xor_si128(key, _mm_slli_si128(key, 4));
	key = _mm_xor_si128(key, _mm_slli_si128(key, 8));
	return _mm_xor_si128(key, _mm_shuffle_epi32(assist, 0xff));
}

__attribute__((target("aes,sse4.1"))) static void aes_expand(__m128i k[11])
{
	k[0] = _mm_set_epi32(0x0f0e0d0c, 0x0b0a0908, 0x07060504, 0x03020100);
#define AES_KEY(i, rcon) \
	k[i] = aes_next_key(k[i - 1], _mm_aeskeygenassist_si128(k[i - 1], rcon))
	AES_KEY(1, 0x01);
	AES_KEY(2, 0x02);
	AES_KEY(3, 0x04);
	AES_KEY(4, 0x08);
	AES_KEY(5, 0x10);
	AES_KEY(6, 0x20);
	AES_KEY(7, 0x40);
	AES_KEY(8, 0x80);
	AES_KEY(9, 0x1b);
	AES_KEY(10, 0x36);
#undef AES_KEY
}

/* Folds the lower half of a 256-bit product once: x^-64 mod the polynomial. */
__attribute__((target("pclmul,sse4.1"))) static __m128i aes_fold(__m128i a)
{
	const __m128i poly = _mm_set_epi64x(0, (long long)0xc200000000000000);

	return _mm_xor_si128(_mm_clmulepi64_si128(a, poly, 0x00),
			     _mm_shuffle_epi32(a, 0x4e));
}

/* a * b * x^-128 in GF(2^128) of RFC 8452, section 3. */
__attribute__((target("pclmul,sse4.1"))) static __m128i aes_dot(__m128i a,
								__m128i b)
{
	__m128i low = _mm_clmulepi64_si128(a, b, 0x00);
	__m128i high = _mm_clmulepi64_si128(a, b, 0x11);
	__m128i mid = _mm_xor_si128(_mm_clmulepi64_si128(a, b, 0x01),
				    _mm_clmulepi64_si128(a, b, 0x10));

	low = _mm_xor_si128(low, _mm_slli_si128(mid, 8));
	high = _mm_xor_si128(high, _mm_srli_si128(mid, 8));
	return _mm_xor_si128(high, aes_fold(aes_fold(low)));
}

/*
 * Four blocks at a time, for the units' latency; hash[i] is the key's power
 * that block i of four is multiplied with.
 */
__attribute__((target("aes,pclmul,sse4.1"))) static __m128i
aes_pass(uint8_t *data, const __m128i k[11], const __m128i hash[4], __m128i tag)
{
	for (unsigned at = 0; at < AES_BYTES; at += 64) {
		__m128i s[4];

		for (unsigned i = 0; i < 4; i++)
			s[i] = _mm_xor_si128(_mm_set_epi64x(1, at + i), k[0]);
		for (unsigned r = 1; r < 10; r++)
			for (unsigned i = 0; i < 4; i++)
				s[i] = _mm_aesenc_si128(s[i], k[r]);
		for (unsigned i = 0; i < 4; i++) {
			__m128i *p = (__m128i *)(data + at + 16 * i);

			s[i] = _mm_xor_si128(_mm_aesenclast_si128(s[i], k[10]),
					     _mm_loadu_si128(p));
			_mm_storeu_si128(p, s[i]);
		}
		s[0] = _mm_xor_si128(s[0], tag);
		tag = _mm_setzero_si128();
		for (unsigned i = 0; i < 4; i++)
			tag = _mm_xor_si128(tag, aes_dot(s[i], hash[i]));
	}
	return tag;
}

/* One operation: 64 KiB encrypted and authenticated. */
__attribute__((target("aes,pclmul,sse4.1"))) uint64_t bench_aes(uint64_t n)
{
	static uint8_t data[AES_BYTES];
	__m128i k[11], hash[4], tag = _mm_setzero_si128();
	uint64_t sum = BENCH_SUM_START;
	unsigned a, b, c, d;

	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_AES) ||
	    !(c & bit_PCLMUL))
		bench_die("CPUID shows no AES");
	memset(data, 0x5a, sizeof(data));
	aes_expand(k);
	hash[3] = _mm_set_epi64x(0x0123456789abcdef, 0x42);
	for (unsigned i = 3; i; i--)
		hash[i - 1] = aes_dot(hash[i], hash[3]);
	for (uint64_t r = 0; r < n; r++)
		tag = aes_pass(data, k, hash, tag);
	for (unsigned i = 0; i < AES_BYTES; i += 1024)
		sum = bench_sum(sum, data + i, 16);
	return bench_sum(sum, &tag, sizeof(tag));
}
