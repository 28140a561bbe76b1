/* SPDX-License-Identifier: Apache-2.0
 * MatrixMarket by CHOLMOD. Left alone, CHOLMOD takes a file with an index 0 as counting from 0, ignores the field,
 * reads a size line without a number of entries as an empty matrix, does not look behind the last entry and loses
 * memory when the file ends early. So the header is read here, and CHOLMOD gets a text that leaves it no choice: a
 * general matrix one row and column larger, an entry in that corner first, the entries of the file, and a line that is
 * no entry. */
#include "perf/matrix_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cholmod.h>

#include "perf/input_stream.h"
#include "src/fault.h"

#define END_LINE   "!end\n"
#define SIZE_LIMIT 9007199254740992.0 /* 2^53: CHOLMOD reads integers as doubles */

_Static_assert(sizeof(SuiteSparse_long) == sizeof(int64_t), "CHOLMOD's long indices are used as they are");

typedef struct matrix_header {
    int64_t rows, cols, num_entries;
    int num_values; /* per entry: 0 pattern, 1 real or integer, 2 complex */
    int is_general;
} matrix_header_t;

typedef struct matrix_store {
    cholmod_common common;
    cholmod_sparse *transpose; /* by columns: the rows of the matrix */
} matrix_store_t;

/* What CHOLMOD reads: pending text first, then the rest of the source, then END_LINE. */
typedef struct guarded_text {
    const char *pending;
    FILE *source;
    int has_ended;
    char corner[256];
} guarded_text_t;

/* CHOLMOD's word for the last failure: its handler gets no pointer of ours. */
static _Thread_local const char *cholmod_text = "";

static void keep_cholmod_text(int status, const char *file, int line, const char *message)
{
    (void)status;
    (void)file;
    (void)line;
    cholmod_text = message;
}

static tulle_status_t read_line(FILE *source, const char *name, char **line, size_t *capacity)
{
    tulle_status_t st = TULLE_OK;
    errno = 0;
    if (getline(line, capacity, source) < 0) {
        TLI_REQUIRE(errno != ENOMEM, TULLE_ERR_NOMEM, "out of memory for a line of '%s'", name);
        TLI_FAIL(TULLE_ERR_FILE, "'%s' ends inside its header", name);
    }
done:
    return st;
}

static int is_blank_or_comment(const char *line)
{
    return line[0] == '%' || line[strspn(line, " \t\r\n\f\v")] == '\0';
}

static tulle_status_t parse_words(const char *name, const char *format, const char *field, const char *storage,
                                  matrix_header_t *header)
{
    static const struct {
        const char *name;
        int num_values;
    } fields[] = {{"pattern", 0}, {"real", 1}, {"integer", 1}, {"complex", 2}};
    static const char *const storages[] = {"general", "symmetric", "skew-symmetric", "hermitian"};
    tulle_status_t st = TULLE_OK;
    size_t f = 0;
    size_t s = 0;
    TLI_REQUIRE(strcasecmp(format, "array") != 0, TULLE_ERR_UNSUPPORTED,
                "'%s' is stored as a dense array; only coordinate files are read", name);
    while (f < 4 && strcasecmp(field, fields[f].name) != 0)
        f++;
    while (s < 4 && strcasecmp(storage, storages[s]) != 0)
        s++;
    TLI_REQUIRE(strcasecmp(format, "coordinate") == 0 && f < 4 && s < 4, TULLE_ERR_FILE,
                "'%s' has an unknown header: '%.30s %.30s %.30s'", name, format, field, storage);
    header->num_values = fields[f].num_values;
    header->is_general = s == 0;
done:
    return st;
}

/* "%%MatrixMarket matrix coordinate <field> <storage>" */
static tulle_status_t read_banner(FILE *source, const char *name, matrix_header_t *header)
{
    static const char banner[] = "%%MatrixMarket";
    tulle_status_t st = TULLE_OK;
    char start[sizeof banner] = "";
    char words[4][32] = {"", "", "", ""};
    char *line = NULL;
    size_t capacity = 0;
    /* Before any getline(): a foreign file may be one endless line. */
    TLI_REQUIRE(fread(start, 1, sizeof banner - 1, source) == sizeof banner - 1 && strcmp(start, banner) == 0,
                TULLE_ERR_FILE, "'%s' is no MatrixMarket file: it does not begin with %s", name, banner);
    TLI_TRY(read_line(source, name, &line, &capacity));
    TLI_REQUIRE(sscanf(line, "%31s %31s %31s %31s", words[0], words[1], words[2], words[3]) == 4 &&
                    strcasecmp(words[0], "matrix") == 0,
                TULLE_ERR_FILE, "'%s' has a bad header: %s%.60s", name, banner, line);
    TLI_TRY(parse_words(name, words[1], words[2], words[3], header));
done:
    free(line);
    return st;
}

/* "<rows> <columns> <entries>", after comments */
static tulle_status_t read_sizes(FILE *source, const char *name, matrix_header_t *header)
{
    tulle_status_t st = TULLE_OK;
    double sizes[3] = {-1, -1, -1};
    char rest[2] = "";
    char *line = NULL;
    size_t capacity = 0;
    do {
        TLI_TRY(read_line(source, name, &line, &capacity));
    } while (is_blank_or_comment(line));
    /* As doubles: %lld would be undefined where the number does not fit. */
    TLI_REQUIRE(sscanf(line, "%lf %lf %lf %1s", &sizes[0], &sizes[1], &sizes[2], rest) == 3, TULLE_ERR_FILE,
                "'%s': expected rows, columns and entries, found '%.60s'", name, line);
    for (int k = 0; k < 3; k++) {
        TLI_REQUIRE(!(sizes[k] >= SIZE_LIMIT), TULLE_ERR_OVERFLOW, "'%s' has a size of %g", name, sizes[k]);
        TLI_REQUIRE(sizes[k] >= 0 && sizes[k] == (double)(int64_t)sizes[k], TULLE_ERR_FILE, "'%s' has a size of %g",
                    name, sizes[k]);
    }
    header->rows = (int64_t)sizes[0];
    header->cols = (int64_t)sizes[1];
    header->num_entries = (int64_t)sizes[2];
    TLI_REQUIRE(header->is_general || header->rows == header->cols, TULLE_ERR_FILE,
                "'%s' is declared symmetric but has %lld rows and %lld columns", name, (long long)header->rows,
                (long long)header->cols);
done:
    free(line);
    return st;
}

/* fopencookie's contract. A failing source ends like a short one: its status is asked for later. */
static ssize_t read_guarded(void *cookie, char *buffer, size_t size)
{
    guarded_text_t *text = cookie;
    size_t bytes = 0;
    if (*text->pending == '\0')
        bytes = fread(buffer, 1, size, text->source);
    if (bytes == 0) {
        if (*text->pending == '\0' && !text->has_ended) {
            /* Its own line, whether or not the last one of the file has a line feed. */
            text->pending = "\n" END_LINE;
            text->has_ended = 1;
        }
        bytes = strnlen(text->pending, size);
        memcpy(buffer, text->pending, bytes);
        text->pending += bytes;
    }
    return (ssize_t)bytes;
}

static tulle_status_t guard(FILE *source, const matrix_header_t *header, guarded_text_t *text, FILE **file_out)
{
    static const cookie_io_functions_t functions = {.read = read_guarded};
    static const char *const values[] = {"", " 0", " 0 0"};
    tulle_status_t st = TULLE_OK;
    long long row = (long long)header->rows + 1;
    long long col = (long long)header->cols + 1;
    snprintf(text->corner, sizeof text->corner,
             "%%%%MatrixMarket matrix coordinate complex general\n%lld %lld %lld\n%lld %lld%s\n", row, col,
             (long long)header->num_entries + 1, row, col, values[header->num_values]);
    text->pending = text->corner;
    text->source = source;
    *file_out = fopencookie(text, "r", functions);
    TLI_REQUIRE(*file_out != NULL, TULLE_ERR_NOMEM, "cannot allocate a stream");
done:
    return st;
}

static tulle_status_t cholmod_failed(const cholmod_common *common, const char *name)
{
    switch (common->status) {
    case CHOLMOD_OUT_OF_MEMORY:
        return tli_fail(TULLE_ERR_NOMEM, common->status, TLI_WHERE, "out of memory for '%s'", name);
    case CHOLMOD_TOO_LARGE:
        return tli_fail(TULLE_ERR_OVERFLOW, common->status, TLI_WHERE, "'%s' is too large", name);
    default:
        return tli_fail(TULLE_ERR_FILE, common->status, TLI_WHERE,
                        "'%s' has a bad entry, or an index of 0 or beyond the matrix (CHOLMOD: %.60s)", name,
                        cholmod_text);
    }
}

/* Nothing but blank lines and comments may follow the entries. */
static tulle_status_t check_rest(FILE *file, const guarded_text_t *text, const char *name, int64_t num_entries)
{
    tulle_status_t st = TULLE_OK;
    char *line = NULL;
    size_t capacity = 0;
    do {
        TLI_TRY(read_line(file, name, &line, &capacity));
    } while (is_blank_or_comment(line));
    TLI_REQUIRE(text->has_ended && strcmp(line, END_LINE) == 0, TULLE_ERR_FILE,
                "'%s' has more than the %lld entries that it announces", name, (long long)num_entries);
done:
    free(line);
    return st;
}

/* The entries as they are stored, corner first. */
static tulle_status_t read_entries(FILE *source, const matrix_header_t *header, const char *name,
                                   cholmod_common *common, cholmod_triplet **entries_out)
{
    tulle_status_t st = TULLE_OK;
    guarded_text_t text = {0};
    FILE *file = NULL;
    TLI_TRY(guard(source, header, &text, &file));
    *entries_out = cholmod_l_read_triplet(file, common);
    /* When CHOLMOD stumbled over the end line itself, nothing is left behind it. */
    TLI_REQUIRE(*entries_out != NULL || common->status == CHOLMOD_OUT_OF_MEMORY || getc(file) != EOF, TULLE_ERR_FILE,
                "'%s' ends before the last of its %lld entries", name, (long long)header->num_entries);
    if (*entries_out == NULL)
        TLI_TRY(cholmod_failed(common, name));
    TLI_TRY(check_rest(file, &text, name, header->num_entries));
done:
    if (file != NULL)
        fclose(file);
    return st;
}

/* The last entry takes the corner's place; what CHOLMOD let pass for the corner's sake is refused. */
static tulle_status_t drop_corner(const matrix_header_t *header, const char *name, cholmod_triplet *entries)
{
    tulle_status_t st = TULLE_OK;
    int64_t *row = entries->i;
    int64_t *col = entries->j;
    row[0] = row[--entries->nnz];
    col[0] = col[entries->nnz];
    entries->nrow--;
    entries->ncol--;
    for (size_t k = 0; k < entries->nnz; k++)
        TLI_REQUIRE(row[k] < header->rows && col[k] < header->cols, TULLE_ERR_FILE,
                    "'%s' has an entry (%lld, %lld) outside its %lld rows and %lld columns", name,
                    (long long)row[k] + 1, (long long)col[k] + 1, (long long)header->rows, (long long)header->cols);
done:
    return st;
}

/* Mirror, merge and sort. CHOLMOD compresses by columns, so the transpose is what gives rows. */
static tulle_status_t compress(cholmod_triplet *entries, int is_general, const char *name, matrix_store_t *store)
{
    tulle_status_t st = TULLE_OK;
    cholmod_sparse *half = NULL;
    void *row = entries->i;
    size_t rows = entries->nrow;
    entries->i = entries->j;
    entries->j = row;
    entries->nrow = entries->ncol;
    entries->ncol = rows;
    entries->stype = is_general ? 0 : -1; /* -1: entries of both halves count as lower */
    half = cholmod_l_triplet_to_sparse(entries, 0, &store->common);
    if (half != NULL && half->stype != 0) {
        store->transpose = cholmod_l_copy(half, 0, 0, &store->common); /* both halves, no values */
    } else {
        store->transpose = half;
        half = NULL;
    }
    if (store->transpose == NULL || !cholmod_l_sort(store->transpose, &store->common))
        TLI_TRY(cholmod_failed(&store->common, name));
done:
    cholmod_l_free_sparse(&half, &store->common);
    return st;
}

static tulle_status_t store_create(matrix_store_t **store_out)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(tli_alloc(sizeof **store_out, store_out));
    cholmod_l_start(&(*store_out)->common);
    (*store_out)->common.print = 0;
    (*store_out)->common.error_handler = keep_cholmod_text;
done:
    return st;
}

static void store_destroy(matrix_store_t *store)
{
    if (store == NULL)
        return;
    cholmod_l_free_sparse(&store->transpose, &store->common);
    cholmod_l_finish(&store->common);
    tli_free(store);
}

static tulle_status_t read_matrix(FILE *source, const char *name, matrix_header_t *header, matrix_store_t *store)
{
    tulle_status_t st = TULLE_OK;
    cholmod_triplet *entries = NULL;
    TLI_TRY(read_banner(source, name, header));
    TLI_TRY(read_sizes(source, name, header));
    TLI_TRY(read_entries(source, header, name, &store->common, &entries));
    TLI_TRY(drop_corner(header, name, entries));
    if (!cholmod_l_triplet_xtype(CHOLMOD_PATTERN, entries, &store->common))
        TLI_TRY(cholmod_failed(&store->common, name));
    TLI_TRY(compress(entries, header->is_general, name, store));
done:
    cholmod_l_free_triplet(&entries, &store->common);
    return st;
}

static tulle_status_t read_stream(perf_stream_t *stream, matrix_header_t *header, matrix_store_t *store)
{
    tulle_status_t parsed = read_matrix(perf_stream_file(stream), perf_stream_name(stream), header, store);
    /* Damage shows up as a text that ends early, or behind the last entry: the cause comes before the symptom. */
    tulle_status_t damage = perf_stream_check(stream);
    return damage != TULLE_OK ? damage : parsed;
}

tulle_status_t perf_matrix_read(const char *path, perf_progress_t progress, void *state, perf_matrix_t *matrix_out)
{
    tulle_status_t st = TULLE_OK;
    perf_stream_t *stream = NULL;
    matrix_store_t *store = NULL;
    matrix_header_t header = {0};
    TLI_TRY(perf_stream_open(path, progress, state, &stream));
    TLI_TRY(store_create(&store));
    TLI_TRY(read_stream(stream, &header, store));
    matrix_out->rows = header.rows;
    matrix_out->cols = header.cols;
    matrix_out->row_ptr = store->transpose->p;
    matrix_out->col_idx = store->transpose->i;
    matrix_out->nnz = matrix_out->row_ptr[header.rows];
    matrix_out->store = store;
    store = NULL;
done:
    store_destroy(store);
    perf_stream_close(&stream);
    return st;
}

void perf_matrix_release(perf_matrix_t *matrix)
{
    if (matrix == NULL)
        return;
    store_destroy(matrix->store);
    memset(matrix, 0, sizeof *matrix);
}
