/*
 * fuzz_libfuzzer.c - a harness's seeds for libFuzzer (-Dfuzzer=true), which has
 * a main function of its own: they are written into the first directory named
 * on the command line, the corpus, as seed-0, seed-1...
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "fuzz.h"

#define SEED_MAX (1u << 20)

int LLVMFuzzerInitialize(int *argc, char ***argv);

static const char *fuzz_corpus(int argc, char **argv)
{
	struct stat st;

	for (int i = 1; i < argc; i++)
		if (argv[i][0] != '-' && stat(argv[i], &st) == 0 &&
		    S_ISDIR(st.st_mode))
			return argv[i];
	return NULL;
}

static void fuzz_write(const char *dir, unsigned i, const void *buf, size_t len)
{
	char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s/seed-%u", dir, i);
	f = fopen(path, "wb");
	if (!f || fwrite(buf, 1, len, f) != len || fclose(f)) {
		perror(path);
		exit(1);
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *dir = fuzz_corpus(*argc, *argv);
	uint8_t *buf = malloc(SEED_MAX);
	size_t len;

	for (unsigned i = 0; buf && dir && fuzz_seed; i++) {
		len = fuzz_seed(i, buf, SEED_MAX);
		if (!len)
			break;
		fuzz_write(dir, i, buf, len);
	}
	free(buf);
	return 0;
}
