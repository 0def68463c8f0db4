#include "block/qcow2.h"
#include <errno.h>
int qcow2_check(struct block *b, unsigned repair, struct block_check *out,
		FILE *report, struct err *err)
{
	return -ENOTSUP;
}
int qcow2_recover(struct qcow2 *q, struct err *err)
{
	return err_set(err, ENOTSUP,
		       "%s: was not closed cleanly; check it with qemu-img",
		       q->b->path);
}
