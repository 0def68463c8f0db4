#include "image/hash.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HASH_CHUNK (1u << 20)

static int hash_feed(EVP_MD_CTX *ctx, int fd, struct progress *progress,
		     char *chunk)
{
	struct stat st;
	uint64_t done = 0;
	ssize_t n;

	if (fstat(fd, &st))
		return -errno;
	for (;;) {
		n = pread(fd, chunk, HASH_CHUNK, (off_t)done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : 0;
		if (!EVP_DigestUpdate(ctx, chunk, (size_t)n))
			return -EIO;
		done += (uint64_t)n;
		progress_bytes(progress, done, (uint64_t)st.st_size);
	}
}

static void hash_to_hex(const unsigned char *sum, unsigned len, char *hex)
{
	for (unsigned i = 0; i < len; i++) {
		*hex++ = "0123456789abcdef"[sum[i] >> 4];
		*hex++ = "0123456789abcdef"[sum[i] & 15];
	}
	*hex = '\0';
}

int hash_fd(enum hash_kind kind, int fd, const char *path,
	    struct progress *progress, char hex[HASH_HEX_MAX], struct err *err)
{
	unsigned char sum[EVP_MAX_MD_SIZE];
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	char *chunk = malloc(HASH_CHUNK);
	unsigned len = 0;
	int rc = -ENOMEM;

	if (ctx && chunk &&
	    EVP_DigestInit_ex(ctx,
			      kind == HASH_SHA512 ? EVP_sha512() : EVP_sha256(),
			      NULL))
		rc = hash_feed(ctx, fd, progress, chunk);
	if (!rc && !EVP_DigestFinal_ex(ctx, sum, &len))
		rc = -EIO;
	EVP_MD_CTX_free(ctx);
	free(chunk);
	if (rc)
		return err_set(err, -rc, "cannot read %s: %s", path,
			       strerror(-rc));
	hash_to_hex(sum, len, hex);
	return 0;
}
