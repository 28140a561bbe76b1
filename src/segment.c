/* SPDX-License-Identifier: Apache-2.0
 * Segments as memfd files. Peers open them under /proc, which works wherever processes see each other; where they do
 * not, the mark at the end tells that a number meant something else. */
#define _GNU_SOURCE /* memfd_create */
#include "src/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/fault.h"

static int64_t *mark_of(const tli_segment_name_t *name, unsigned char *base)
{
    return (int64_t *)(base + name->bytes) - 1;
}

static int64_t round_to_pages(size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (int64_t)((bytes + page - 1) / page * page);
}

static tulle_status_t map_file(int file, int64_t bytes, unsigned char **base_out)
{
    tulle_status_t st = TULLE_OK;
    void *base = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    TLI_REQUIRE(base != MAP_FAILED, TULLE_ERR_NOMEM, "cannot map %lld bytes of shared memory: %s", (long long)bytes,
                strerror(errno));
    *base_out = base;
done:
    return st;
}

tulle_status_t tli_segment_create(size_t bytes, tli_segment_t *segment_out)
{
    tulle_status_t st = TULLE_OK;
    tli_segment_t segment = {{getpid(), -1, round_to_pages(bytes + sizeof(int64_t)), 0}, NULL};
    int file = memfd_create("tulle", MFD_CLOEXEC);
    TLI_REQUIRE(file >= 0, TULLE_ERR_NOMEM, "cannot make a shared segment: %s", strerror(errno));
    segment.name.file = file;
    TLI_REQUIRE(ftruncate(file, (off_t)segment.name.bytes) == 0, TULLE_ERR_NOMEM,
                "cannot make a shared segment of %zu bytes: %s", bytes, strerror(errno));
    TLI_REQUIRE(getrandom(&segment.name.mark, sizeof segment.name.mark, 0) == sizeof segment.name.mark, TULLE_ERR_NOMEM,
                "cannot mark a shared segment: %s", strerror(errno));
    TLI_TRY(map_file(file, segment.name.bytes, &segment.base));
    *mark_of(&segment.name, segment.base) = segment.name.mark;
    *segment_out = segment;
    file = -1;
done:
    if (file >= 0)
        close(file);
    return st;
}

void tli_segment_destroy(tli_segment_t *segment)
{
    if (segment->base != NULL) {
        tli_segment_unmap(&segment->name, segment->base);
        close((int)segment->name.file);
    }
    memset(segment, 0, sizeof *segment);
}

tulle_status_t tli_segment_map(const tli_segment_name_t *name, unsigned char **base_out)
{
    tulle_status_t st = TULLE_OK;
    unsigned char *base = NULL;
    struct stat about = {0};
    char path[64];
    snprintf(path, sizeof path, "/proc/%lld/fd/%lld", (long long)name->process, (long long)name->file);
    int file = open(path, O_RDWR | O_CLOEXEC);
    TLI_REQUIRE(file >= 0, TULLE_ERR_TRANSPORT, "cannot open the shared segment %s: %s", path, strerror(errno));
    TLI_REQUIRE(fstat(file, &about) == 0 && S_ISREG(about.st_mode) && about.st_size == name->bytes, TULLE_ERR_TRANSPORT,
                "%s is not the shared segment that a peer made", path);
    TLI_TRY(map_file(file, name->bytes, &base));
    TLI_REQUIRE(*mark_of(name, base) == name->mark, TULLE_ERR_TRANSPORT,
                "%s is not the shared segment that a peer made", path);
    *base_out = base;
    base = NULL;
done:
    tli_segment_unmap(name, base);
    if (file >= 0)
        close(file);
    return st;
}

void tli_segment_unmap(const tli_segment_name_t *name, unsigned char *base)
{
    if (base != NULL)
        munmap(base, (size_t)name->bytes);
}
