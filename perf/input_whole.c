/* SPDX-License-Identifier: Apache-2.0
 * Arrays of any length travel in bounded messages, whose counts fit MPI's int. */
#include "perf/input_whole.h"

#include <stdio.h>
#include <string.h>

#include "src/agree.h"
#include "src/fault.h"

#define CHUNK_ELEMS ((int64_t)1 << 20) /* 8 MiB */

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

static tulle_status_t receive_elems(MPI_Comm comm, int64_t *elems, int64_t count, int source)
{
    tulle_status_t st = TULLE_OK;
    for (int64_t k = 0; k < count; k += CHUNK_ELEMS) {
        int64_t chunk = count - k < CHUNK_ELEMS ? count - k : CHUNK_ELEMS;
        TLI_MPI(MPI_Recv(elems + k, (int)chunk, MPI_INT64_T, source, 0, comm, MPI_STATUS_IGNORE));
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
    TLI_TRY(receive_elems(comm, input->row_ptr, input->num_rows + 1, 0));
    first = input->row_ptr[0];
    for (int64_t row = 0; row <= input->num_rows; row++)
        input->row_ptr[row] -= first;
done:
    return st;
}

/* Name, sizes and the allocation of row_ptr on every rank. */
static tulle_status_t share_sizes(MPI_Comm comm, const char *own_name, const perf_matrix_t *matrix, perf_input_t *input)
{
    tulle_status_t st = TULLE_OK;
    char name[sizeof input->name] = "";
    int64_t sizes[3] = {matrix->rows, matrix->cols, matrix->nnz};
    snprintf(name, sizeof name, "%s", own_name);
    TLI_MPI(MPI_Bcast(name, (int)sizeof name, MPI_CHAR, 0, comm));
    TLI_MPI(MPI_Bcast(sizes, 3, MPI_INT64_T, 0, comm));
    st = perf_input_init(comm, sizes[0], sizes[1], input);
    input->nnz = sizes[2];
    memcpy(input->name, name, sizeof name);
    TLI_TRY(tli_agree(comm, st));
done:
    return st;
}

static tulle_status_t send_rows(MPI_Comm comm, const perf_matrix_t *matrix, perf_progress_t progress, void *state,
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
                      : receive_elems(comm, input->col_idx, input->row_ptr[input->num_rows], 0));
    tli_arena_seal(&input->arena);
done:
    return st;
}

tulle_status_t perf_input_distribute(MPI_Comm comm, const char *name, const perf_matrix_t *matrix,
                                     perf_progress_t progress, void *state, perf_input_t *input_out)
{
    tulle_status_t st = TULLE_OK;
    perf_input_t input = {0};
    TLI_TRY(share_sizes(comm, name, matrix, &input));
    TLI_TRY(send_rows(comm, matrix, progress, state, &input));
    *input_out = input;
    memset(&input, 0, sizeof input);
done:
    perf_input_release(&input);
    return st;
}

/* Rank 0: offsets of all rows, from those of every rank. */
static tulle_status_t collect_row_ptr(MPI_Comm comm, const perf_input_t *input, int64_t *row_ptr)
{
    tulle_status_t st = TULLE_OK;
    int num_ranks = 0;
    int64_t end = input->num_rows;
    TLI_MPI(MPI_Comm_size(comm, &num_ranks));
    memcpy(row_ptr, input->row_ptr, (size_t)(end + 1) * sizeof *row_ptr);
    for (int source = 1; source < num_ranks; source++) {
        int64_t first, count;
        perf_block(input->rows, num_ranks, source, &first, &count);
        int64_t offset = row_ptr[first];
        TLI_TRY(receive_elems(comm, row_ptr + first, count + 1, source));
        for (int64_t row = first; row <= first + count; row++)
            row_ptr[row] += offset;
    }
done:
    return st;
}

static tulle_status_t collect_col_idx(MPI_Comm comm, const perf_input_t *input, const int64_t *row_ptr,
                                      int64_t *col_idx)
{
    tulle_status_t st = TULLE_OK;
    int num_ranks = 0;
    TLI_MPI(MPI_Comm_size(comm, &num_ranks));
    memcpy(col_idx, input->col_idx, (size_t)input->row_ptr[input->num_rows] * sizeof *col_idx);
    for (int source = 1; source < num_ranks; source++) {
        int64_t first, count;
        perf_block(input->rows, num_ranks, source, &first, &count);
        TLI_TRY(receive_elems(comm, col_idx + row_ptr[first], row_ptr[first + count] - row_ptr[first], source));
    }
done:
    return st;
}

tulle_status_t perf_input_collect(MPI_Comm comm, const perf_input_t *input, tli_arena_t *arena,
                                  perf_matrix_t *matrix_out)
{
    tulle_status_t st = TULLE_OK;
    int64_t *row_ptr = NULL;
    int64_t *col_idx = NULL;
    int rank = 0;
    TLI_MPI(MPI_Comm_rank(comm, &rank));
    if (rank == 0)
        st = tli_arena_alloc_raw(arena, input->rows + 1, sizeof(int64_t), &row_ptr);
    if (rank == 0 && st == TULLE_OK)
        st = tli_arena_alloc_raw(arena, input->nnz, sizeof(int64_t), &col_idx);
    TLI_TRY(tli_agree(comm, st));
    TLI_TRY(rank == 0 ? collect_row_ptr(comm, input, row_ptr)
                      : send_elems(comm, input->row_ptr, input->num_rows + 1, 0));
    TLI_TRY(rank == 0 ? collect_col_idx(comm, input, row_ptr, col_idx)
                      : send_elems(comm, input->col_idx, input->row_ptr[input->num_rows], 0));
    if (rank == 0)
        *matrix_out = (perf_matrix_t){input->rows, input->cols, input->nnz, row_ptr, col_idx, NULL};
done:
    return st;
}
