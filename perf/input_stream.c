/* SPDX-License-Identifier: Apache-2.0
 * Decompression behind a FILE: fopencookie (GNU, musl) turns reads into calls of zlib or libarchive. */
#include "perf/input_stream.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include <archive.h>
#include <archive_entry.h>
#include <zlib.h>

#include "src/fault.h"

#define BLOCK_BYTES ((size_t)1 << 16)

struct perf_stream {
    char name[100];     /* the end of the path, for messages */
    int64_t file_bytes; /* as stored */
    perf_progress_t progress;
    void *state;
    int reported_tenths;
    tulle_error_t error; /* of the first failed read; others may overwrite the thread's last error */
    FILE *file;
    gzFile gzip;             /* NULL: the archive is in use */
    struct archive *archive; /* raw: one entry without a name */
};

static void report_progress(perf_stream_t *stream)
{
    int64_t offset = stream->gzip != NULL ? (int64_t)gzoffset(stream->gzip) : archive_filter_bytes(stream->archive, -1);
    double fraction = stream->file_bytes > 0 ? (double)offset / (double)stream->file_bytes : 1.0;
    if (stream->progress != NULL && (int)(fraction * 10) > stream->reported_tenths) {
        stream->reported_tenths = (int)(fraction * 10);
        stream->progress(stream->state, "reading", fraction < 1.0 ? fraction : 1.0);
    }
}

static ssize_t read_gzip(perf_stream_t *stream, char *buffer, size_t size)
{
    int code = Z_OK;
    int bytes = gzread(stream->gzip, buffer, size < BLOCK_BYTES ? (unsigned)size : (unsigned)BLOCK_BYTES);
    const char *text = gzerror(stream->gzip, &code);
    /* A file that ends early gives its data first: zlib says so with Z_BUF_ERROR beside a count that looks good. */
    if (bytes < 0 || code < Z_OK) {
        tli_fail(code == Z_MEM_ERROR ? TULLE_ERR_NOMEM : TULLE_ERR_FILE, code, TLI_WHERE,
                 "cannot decompress '%s': %.100s", stream->name, text);
        bytes = -1;
    }
    return bytes;
}

static tulle_status_t archive_failed(const perf_stream_t *stream)
{
    int code = archive_errno(stream->archive);
    const char *text = archive_error_string(stream->archive);
    return tli_fail(code == ENOMEM ? TULLE_ERR_NOMEM : TULLE_ERR_FILE, code, TLI_WHERE,
                    "cannot decompress '%s', damaged or truncated: %.100s", stream->name,
                    text != NULL ? text : "no detail");
}

static ssize_t read_archive(perf_stream_t *stream, char *buffer, size_t size)
{
    la_ssize_t bytes = archive_read_data(stream->archive, buffer, size);
    if (bytes < 0)
        archive_failed(stream);
    return bytes < 0 ? -1 : (ssize_t)bytes;
}

/* fopencookie's contract: bytes read, 0 at the end, -1 with errno on failure. */
static ssize_t read_cookie(void *cookie, char *buffer, size_t size)
{
    perf_stream_t *stream = cookie;
    ssize_t bytes = -1;
    if (stream->error.status == TULLE_OK) {
        bytes = stream->gzip != NULL ? read_gzip(stream, buffer, size) : read_archive(stream, buffer, size);
        if (bytes < 0)
            stream->error = *tulle_last_error();
        else
            report_progress(stream);
    }
    if (bytes < 0)
        errno = EIO;
    return bytes;
}

static tulle_status_t check_file(perf_stream_t *stream, const char *path)
{
    tulle_status_t st = TULLE_OK;
    struct stat info;
    size_t length = strlen(path);
    size_t room = sizeof stream->name - 4;
    const char *tail = length > room ? path + (length - room) : path;
    snprintf(stream->name, sizeof stream->name, "%s%s", tail != path ? "..." : "", tail);
    TLI_REQUIRE(stat(path, &info) == 0, TULLE_ERR_FILE, "cannot open '%s': %s", stream->name, strerror(errno));
    TLI_REQUIRE(!S_ISDIR(info.st_mode), TULLE_ERR_FILE, "'%s' is a directory", stream->name);
    TLI_REQUIRE(S_ISREG(info.st_mode), TULLE_ERR_FILE, "'%s' is no regular file", stream->name);
    stream->file_bytes = (int64_t)info.st_size;
done:
    return st;
}

/* Leaves gzip NULL when the file is no gzip file. */
static tulle_status_t open_gzip(perf_stream_t *stream, const char *path)
{
    tulle_status_t st = TULLE_OK;
    int is_plain = 0;
    int code = Z_OK;
    stream->gzip = gzopen(path, "rb");
    TLI_REQUIRE(stream->gzip != NULL, errno == ENOMEM ? TULLE_ERR_NOMEM : TULLE_ERR_FILE, "cannot open '%s': %s",
                stream->name, strerror(errno));
    is_plain = gzdirect(stream->gzip); /* looks into the file */
    gzerror(stream->gzip, &code);
    TLI_REQUIRE(code != Z_MEM_ERROR, TULLE_ERR_NOMEM, "out of memory for '%s'", stream->name);
    if (is_plain) {
        gzclose_r(stream->gzip);
        stream->gzip = NULL;
    }
done:
    return st;
}

static tulle_status_t open_archive(perf_stream_t *stream, const char *path)
{
    tulle_status_t st = TULLE_OK;
    struct archive_entry *entry = NULL;
    int code = ARCHIVE_OK;
    stream->archive = archive_read_new();
    TLI_REQUIRE(stream->archive != NULL, TULLE_ERR_NOMEM, "out of memory for '%s'", stream->name);
    /* By name, not archive_read_support_filter_all(): that one also starts external programs. */
    archive_read_support_filter_xz(stream->archive);
    archive_read_support_filter_bzip2(stream->archive);
    archive_read_support_filter_zstd(stream->archive);
    archive_read_support_filter_lz4(stream->archive);
    archive_read_support_format_raw(stream->archive);
    archive_read_support_format_empty(stream->archive);
    code = archive_read_open_filename(stream->archive, path, BLOCK_BYTES);
    if (code == ARCHIVE_OK)
        code = archive_read_next_header(stream->archive, &entry);
    TLI_REQUIRE(code != ARCHIVE_EOF, TULLE_ERR_FILE, "'%s' is empty", stream->name);
    if (code != ARCHIVE_OK)
        TLI_TRY(archive_failed(stream));
done:
    return st;
}

tulle_status_t perf_stream_open(const char *path, perf_progress_t progress, void *state, perf_stream_t **stream_out)
{
    static const cookie_io_functions_t functions = {.read = read_cookie};
    tulle_status_t st = TULLE_OK;
    perf_stream_t *stream = NULL;
    TLI_TRY(tli_alloc(sizeof *stream, &stream));
    stream->progress = progress;
    stream->state = state;
    TLI_TRY(check_file(stream, path));
    TLI_TRY(open_gzip(stream, path));
    if (stream->gzip == NULL)
        TLI_TRY(open_archive(stream, path));
    stream->file = fopencookie(stream, "r", functions);
    TLI_REQUIRE(stream->file != NULL, TULLE_ERR_NOMEM, "out of memory for '%s'", stream->name);
    setvbuf(stream->file, NULL, _IOFBF, BLOCK_BYTES);
    *stream_out = stream;
    stream = NULL;
done:
    perf_stream_close(&stream);
    return st;
}

FILE *perf_stream_file(perf_stream_t *stream)
{
    return stream->file;
}

const char *perf_stream_name(const perf_stream_t *stream)
{
    return stream->name;
}

tulle_status_t perf_stream_check(const perf_stream_t *stream)
{
    if (stream->error.status != TULLE_OK)
        tli_fault_set(&stream->error);
    return stream->error.status;
}

void perf_stream_close(perf_stream_t **stream)
{
    if (stream == NULL || *stream == NULL)
        return;
    if ((*stream)->file != NULL)
        fclose((*stream)->file);
    if ((*stream)->gzip != NULL)
        gzclose_r((*stream)->gzip);
    archive_read_free((*stream)->archive); /* NULL-safe */
    tli_free(*stream);
    *stream = NULL;
}
