/* SPDX-License-Identifier: Apache-2.0
 * Blocks, and the matrix of a file: rank 0 reads it, every rank gets its rows. */
#include "perf/input.h"

#include <string.h>

#include "perf/input_whole.h"
#include "src/agree.h"
#include "src/fault.h"

void perf_block(int64_t n, int num_ranks, int rank, int64_t *first_out, int64_t *count_out)
{
    int64_t quotient = n / num_ranks;
    int64_t remainder = n % num_ranks;
    *first_out = quotient * rank + (rank < remainder ? rank : remainder);
    *count_out = quotient + (rank < remainder);
}

int perf_block_owner(int64_t n, int num_ranks, int64_t id)
{
    int64_t quotient = n / num_ranks;
    int64_t remainder = n % num_ranks;
    int64_t first_short = remainder * quotient + remainder; /* first id in a block without the extra one */
    return (int)(id < first_short ? id / (quotient + 1) : remainder + (id - first_short) / quotient);
}

tulle_status_t perf_input_init(MPI_Comm comm, int64_t rows, int64_t cols, perf_input_t *input_out)
{
    tulle_status_t st = TULLE_OK;
    int rank = 0;
    int num_ranks = 0;
    memset(input_out, 0, sizeof *input_out);
    TLI_MPI(MPI_Comm_rank(comm, &rank));
    TLI_MPI(MPI_Comm_size(comm, &num_ranks));
    input_out->rows = rows;
    input_out->cols = cols;
    perf_block(rows, num_ranks, rank, &input_out->first_row, &input_out->num_rows);
    perf_block(cols, num_ranks, rank, &input_out->first_col, &input_out->num_cols);
    TLI_TRY(tli_arena_alloc(&input_out->arena, input_out->num_rows + 1, sizeof(int64_t), &input_out->row_ptr));
done:
    return st;
}

void perf_input_release(perf_input_t *input)
{
    if (input == NULL)
        return;
    tli_arena_release(&input->arena);
    memset(input, 0, sizeof *input);
}

/* The file's name without folder, compression suffix and .mtx. */
static void name_file(const char *path, char *name, size_t size)
{
    static const char *const suffixes[] = {".gz", ".xz", ".bz2", ".zst", ".lz4", ".mtx"};
    const char *slash = strrchr(path, '/');
    const char *base = slash != NULL ? slash + 1 : path;
    size_t length = strlen(base);
    for (size_t k = 0; k < sizeof suffixes / sizeof suffixes[0]; k++) {
        size_t suffix = strlen(suffixes[k]);
        if (length > suffix && strncmp(base + length - suffix, suffixes[k], suffix) == 0)
            length -= suffix;
    }
    length = length < size ? length : size - 1;
    memcpy(name, base, length);
    name[length] = '\0';
}

tulle_status_t perf_input_read_matrix(MPI_Comm comm, const char *path, perf_progress_t progress, void *state,
                                      perf_input_t *input_out)
{
    tulle_status_t st = TULLE_OK;
    perf_matrix_t matrix = {0};
    char name[sizeof input_out->name] = "";
    int rank = 0;
    TLI_MPI(MPI_Comm_rank(comm, &rank));
    if (rank == 0) {
        name_file(path, name, sizeof name);
        st = perf_matrix_read(path, progress, state, &matrix);
    }
    TLI_TRY(tli_agree(comm, st));
    TLI_TRY(perf_input_distribute(comm, name, &matrix, progress, state, input_out));
done:
    perf_matrix_release(&matrix);
    return st;
}
