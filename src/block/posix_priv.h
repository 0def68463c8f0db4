/* posix_priv.h - struct posix, for posix.c and posix_direct.c only. */
#ifndef HOSTEL_BLOCK_POSIX_PRIV_H
#define HOSTEL_BLOCK_POSIX_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "block/posix.h"

struct posix {
	int fd;
	bool device;
	bool discard;
	bool unsafe; /* flush is nothing */
	/* The file system refuses RWF_NOWAIT. */
	atomic_bool no_nowait_read, no_nowait_write;
	/* posix_try_write(); lost updates do not matter. */
	atomic_int watch, waited;
	_Atomic uint64_t slow_until;
	/*
	 * A failed fdatasync: the kernel has dropped pages that it could not
	 * write, and would call the next one a success.
	 */
	atomic_int sync_error;

	/* O_DIRECT: what offsets, lengths and addresses must divide. */
	bool direct;
	unsigned align, mem_align; /* powers of two */
	/*
	 * Writers of whole blocks share the gate; who replaces a part of one
	 * reads it first, and has the gate alone.
	 */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned sharing; /* guarded by lock, as what follows */
	bool alone;
};

/* Whole transfers; what lies past the end reads as zeroes. */
int posix_read_all(struct block *b, const struct iovec *iov, int iovcnt,
		   uint64_t offset, uint64_t length, unsigned flags);
int posix_write_all(struct block *b, const struct iovec *iov, int iovcnt,
		    uint64_t offset, uint64_t length, unsigned flags);
void posix_grown(struct block *b, uint64_t end);

/* posix_direct.c */
int direct_setup(struct posix *p, const char *path, struct err *err);
bool direct_fits(const struct posix *p, const struct iovec *iov, int iovcnt,
		 uint64_t offset, uint64_t length);
int direct_read(struct block *b, const struct iovec *iov, int iovcnt,
		uint64_t offset, uint64_t length);
int direct_write(struct block *b, const struct iovec *iov, int iovcnt,
		 uint64_t offset, uint64_t length, unsigned flags);
/* False: someone is alone and wait was not asked for. */
bool direct_share(struct posix *p, bool wait);
void direct_unshare(struct posix *p);

#endif
