/* SPDX-License-Identifier: Apache-2.0
 * Blocks, and the matrix of a file: rank 0 reads it and sends every rank its rows. */
#include "perf/input.h"

#include <string.h>

#include "perf/matrix_file.h"
#include "src/agree.h"
#include "src/fault.h"

#define CHUNK_ELEMS ((int64_t)1 << 20) /* 8 MiB */

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

static tulle_status_t send_elems(MPI_Comm comm, const int64_t *elems, int64_t count, int dest)
{
    tulle_status_t st = TULLE_OK;
    for (int64_t k = 0; k < count; k += CHUNK_ELEMS) {
        int64_t chunk = count - k < CHUNK_ELEMS ? count - k : CHUNK_ELEMS;
        TLI_MPI(MPI_Send(elems + k, (int)chunk, MPI_INT64_T, dest, 0, comm));
    }
done:
    return st;
}

static tulle_status_t receive_elems(MPI_Comm comm, int64_t *elems, int64_t count)
{
    tulle_status_t st = TULLE_OK;
    for (int64_t k = 0; k < count; k += CHUNK_ELEMS) {
        int64_t chunk = count - k < CHUNK_ELEMS ? count - k : CHUNK_ELEMS;
        TLI_MPI(MPI_Recv(elems + k, (int)chunk, MPI_INT64_T, 0, 0, comm, MPI_STATUS_IGNORE));
    }
done:
    return st;
}

/* Rank 0: the offsets of every rank's rows; rank 0's own are copied. */
static tulle_status_t send_row_ptr(MPI_Comm comm, const perf_matrix_t *matrix, const perf_input_t *input)
{
    tulle_status_t st = TULLE_OK;
    int num_ranks = 0;
    TLI_MPI(MPI_Comm_size(comm, &num_ranks));
    for (int dest = 1; dest < num_ranks; dest++) {
        int64_t first, count;
        perf_block(matrix->rows, num_ranks, dest, &first, &count);
        TLI_TRY(send_elems(comm, matrix->row_ptr + first, count + 1, dest));
    }
    memcpy(input->row_ptr, matrix->row_ptr, (size_t)(input->num_rows + 1) * sizeof(int64_t));
done:
    return st;
}

/* Rank 0: the entries of every rank's rows. */
static tulle_status_t send_col_idx(MPI_Comm comm, const perf_matrix_t *matrix, const perf_input_t *input,
                                   perf_progress_t progress, void *state)
{
    tulle_status_t st = TULLE_OK;
    int num_ranks = 0;
    TLI_MPI(MPI_Comm_size(comm, &num_ranks));
    for (int dest = 1; dest < num_ranks; dest++) {
        int64_t first, count;
        perf_block(matrix->rows, num_ranks, dest, &first, &count);
        TLI_TRY(send_elems(comm, matrix->col_idx + matrix->row_ptr[first],
                           matrix->row_ptr[first + count] - matrix->row_ptr[first], dest));
        /* At most some ten times, whatever the number of ranks. */
        if (progress != NULL && dest * 10 / num_ranks != (dest - 1) * 10 / num_ranks)
            progress(state, "sending", (double)dest / num_ranks);
    }
    memcpy(input->col_idx, matrix->col_idx, (size_t)input->row_ptr[input->num_rows] * sizeof(int64_t));
done:
    return st;
}

/* Offsets arrive as they are in the whole matrix. */
static tulle_status_t receive_row_ptr(MPI_Comm comm, const perf_input_t *input)
{
    tulle_status_t st = TULLE_OK;
    int64_t first = 0;
    TLI_TRY(receive_elems(comm, input->row_ptr, input->num_rows + 1));
    first = input->row_ptr[0];
    for (int64_t row = 0; row <= input->num_rows; row++)
        input->row_ptr[row] -= first;
done:
    return st;
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

/* Name, sizes and the allocation of row_ptr on every rank. */
static tulle_status_t share_sizes(MPI_Comm comm, const char *path, const perf_matrix_t *matrix, perf_input_t *input)
{
    tulle_status_t st = TULLE_OK;
    char name[sizeof input->name] = "";
    int64_t sizes[3] = {matrix->rows, matrix->cols, matrix->nnz};
    int rank = 0;
    TLI_MPI(MPI_Comm_rank(comm, &rank));
    if (rank == 0)
        name_file(path, name, sizeof name);
    TLI_MPI(MPI_Bcast(name, (int)sizeof name, MPI_CHAR, 0, comm));
    TLI_MPI(MPI_Bcast(sizes, 3, MPI_INT64_T, 0, comm));
    st = perf_input_init(comm, sizes[0], sizes[1], input);
    input->nnz = sizes[2];
    memcpy(input->name, name, sizeof name);
    TLI_TRY(tli_agree(comm, st));
done:
    return st;
}

static tulle_status_t distribute(MPI_Comm comm, const perf_matrix_t *matrix, perf_progress_t progress, void *state,
                                 perf_input_t *input)
{
    tulle_status_t st = TULLE_OK;
    int rank = 0;
    TLI_ASSERT(input->row_ptr != NULL); /* all ranks agreed that it was allocated */
    TLI_MPI(MPI_Comm_rank(comm, &rank));
    TLI_ASSERT(rank != 0 || (matrix->row_ptr != NULL && matrix->col_idx != NULL));
    TLI_TRY(rank == 0 ? send_row_ptr(comm, matrix, input) : receive_row_ptr(comm, input));
    TLI_TRY(tli_agree(
        comm, tli_arena_alloc_raw(&input->arena, input->row_ptr[input->num_rows], sizeof(int64_t), &input->col_idx)));
    TLI_TRY(rank == 0 ? send_col_idx(comm, matrix, input, progress, state)
                      : receive_elems(comm, input->col_idx, input->row_ptr[input->num_rows]));
    tli_arena_seal(&input->arena);
done:
    return st;
}

tulle_status_t perf_input_read_matrix(MPI_Comm comm, const char *path, perf_progress_t progress, void *state,
                                      perf_input_t *input_out)
{
    tulle_status_t st = TULLE_OK;
    perf_matrix_t matrix = {0};
    perf_input_t input = {0};
    int rank = 0;
    TLI_MPI(MPI_Comm_rank(comm, &rank));
    if (rank == 0)
        st = perf_matrix_read(path, progress, state, &matrix);
    TLI_TRY(tli_agree(comm, st));
    TLI_TRY(share_sizes(comm, path, &matrix, &input));
    TLI_TRY(distribute(comm, &matrix, progress, state, &input));
    *input_out = input;
    memset(&input, 0, sizeof input);
done:
    perf_input_release(&input);
    perf_matrix_release(&matrix);
    return st;
}
