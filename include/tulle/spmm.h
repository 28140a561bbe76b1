/* SPDX-License-Identifier: Apache-2.0
 * Sparse times dense: C = alpha A B + beta C, A sparse and distributed by rows, B and C dense and distributed by rows;
 * and C = alpha A^T B + beta C from the same object. Created once, run as often as the program likes. */
#ifndef TULLE_SPMM_H
#define TULLE_SPMM_H

#include <stddef.h>
#include <stdint.h>

#include <tulle/exchange.h>
#include <tulle/memory.h>

TULLE_BEGIN_DECLS

/** A distributed sparse matrix, ready to be multiplied. Opaque; holds copies of everything it was made from. */
typedef struct tulle_spmm tulle_spmm_t;

/** Which rows cross between nodes: name, frozen value, text. */
#define TULLE_COVER_MAP(X)                                                                                             \
    X(AUTO, 0, "auto")                                                                                                 \
    X(COLUMNS, 1, "columns")                                                                                           \
    X(LEAST, 2, "least")                                                                                               \
    X(BALANCED, 3, "balanced")

/**
 * A nonzero in a row of one node and a column of another needs one of two rows to cross: the row of B goes to the
 * node of the matrix row, or a partial row of C, summed on the column's node first, goes there instead. Of f16 and bf16
 * a partial row counts as two rows of B, since it travels as f32. COLUMNS: always the row of B. LEAST: per ordered pair
 * of nodes a minimum vertex cover of the block between them, the fewest rows that can cross; never more than COLUMNS.
 * BALANCED: covers in which the busiest rank sends and receives least, though the sum may be larger. AUTO: what the
 * cost model finds fastest. Inside a node COLUMNS copies rows of B; with every other kind a rank gets partial rows of C
 * from another one of its node instead where that costs a quarter of the rows or less.
 */
typedef enum tulle_cover {
#define TULLE_COVER_ENUM(name, value, text) TULLE_COVER_##name = value,
    TULLE_COVER_MAP(TULLE_COVER_ENUM)
#undef TULLE_COVER_ENUM
} tulle_cover_t;

/** Text form of a cover, such as "least"; "unknown" for another value. @param[in] cover any value
 * @return never NULL; static storage @collective no @threads any @cost O(1) */
TULLE_API const char *tulle_cover_name(tulle_cover_t cover);

/**
 * Cover of a text form: the inverse of tulle_cover_name().
 * @param[in]  name      zero-terminated, such as "least"
 * @param[out] cover_out untouched on failure
 * @retval TULLE_ERR_ARG no cover has this name, or a pointer is NULL
 * @collective no   @threads any   @cost O(1)
 */
TULLE_API tulle_status_t tulle_cover_parse(const char *name, tulle_cover_t *cover_out);

/** What multiplies in device memory: name, frozen value, text. */
#define TULLE_SPMM_LIBRARY_MAP(X)                                                                                      \
    X(AUTO, 0, "auto")                                                                                                 \
    X(OWN, 1, "own")                                                                                                   \
    X(CUSPARSE, 2, "cusparse")

/** OWN: kernels of this library. CUSPARSE: cuSPARSE, for own columns and partial rows; it is loaded at run time. AUTO:
 * cuSPARSE where it is installed and takes the block. */
typedef enum tulle_spmm_library {
#define TULLE_SPMM_LIBRARY_ENUM(name, value, text) TULLE_SPMM_LIBRARY_##name = value,
    TULLE_SPMM_LIBRARY_MAP(TULLE_SPMM_LIBRARY_ENUM)
#undef TULLE_SPMM_LIBRARY_ENUM
} tulle_spmm_library_t;

/** This rank's rows of a sparse matrix, row after row. Rows are those of the row layout, in its order; columns are
 * global ids of the column layout, strictly ascending within a row. */
typedef struct tulle_csr {
    const int64_t *row_ptr;      /**< [num_rows + 1] starts at 0, never decreases */
    const void *col_idx;         /**< [row_ptr[num_rows]] global columns */
    const void *values;          /**< [row_ptr[num_rows]] */
    tulle_datatype_t index_type; /**< of col_idx: TULLE_I32 or TULLE_I64; equal on every rank */
    tulle_datatype_t value_type; /**< of values, and of B and C: TULLE_F64, TULLE_F32, TULLE_F16 or TULLE_BF16; equal on
                                    every rank */
} tulle_csr_t;

/** Tunables of tulle_spmm_create(). Zero always means "library default". Append fields, never reorder. */
typedef struct tulle_spmm_options {
    size_t struct_size;        /**< [bytes] set by the initializer */
    tulle_cover_t cover;       /**< default AUTO */
    tulle_strategy_t strategy; /**< of both plans, default AUTO */
    int64_t width;             /**< [scalars] per row of B and C, for the cost model alone; 0 = 64 */
    int32_t num_threads;       /**< [count] of one rank's multiplication; 0 = the processors of the machine shared among
                                    its ranks, at most OMP_NUM_THREADS; always 1 in a build without OpenMP */
    int32_t num_bindings;      /**< [count] widths and directions whose buffers are kept for the next run, at most 64;
                                    the one not used for longest goes first; 1 is taken as 2; 0 = 4 */
    int32_t is_trusted;        /**< [bool] 1 = runs do not compare notes: all ranks promise valid and equal arguments */
    tulle_space_t space;       /**< where B and C are: TULLE_SPACE_HOST, the default, or TULLE_SPACE_DEVICE, on the
                                    calling thread's current GPU; equal on every rank */
    tulle_spmm_library_t library; /**< that multiplies in device memory; default AUTO */
} tulle_spmm_options_t;

/* clang-format off */
/** Defaults for every field. */
#define TULLE_SPMM_OPTIONS_INIT                                                                                        \
    {sizeof(tulle_spmm_options_t), TULLE_COVER_AUTO, TULLE_STRATEGY_AUTO, 0, 0, 0, 0, TULLE_SPACE_HOST,                 \
     TULLE_SPMM_LIBRARY_AUTO}
/* clang-format on */

/**
 * Distribute a sparse matrix for multiplication: decide what crosses between nodes, plan how, renumber columns so that
 * rows are used where they arrive, and hand nonzeros of partial rows to the ranks that own their columns.
 * @collective all ranks of @p comm; blocks
 * @param[in]  comm     borrowed; kept alive by the object
 * @param[in]  rows     borrowed for the call; matrix rows on this rank; no row may be on two ranks; may be none
 * @param[in]  columns  borrowed for the call; who owns which column; need not resemble the row layout; may be none
 * @param[in]  matrix   borrowed for the call; copied
 * @param[in]  options  borrowed for the call; NULL = defaults; equal on every rank
 * @param[out] spmm_out owned by the caller, free with tulle_spmm_destroy(); untouched on failure
 * @retval TULLE_ERR_ARG a null pointer, a row_ptr that is no CSR, columns that do not ascend within a row, a column
 * that nobody owns, a row or column on two ranks, a layout of more rows than the matrix has, an unknown option
 * @retval TULLE_ERR_UNSUPPORTED an index or value type that is not offered; values in device memory; rows in device
 * memory in a build without CUDA; cuSPARSE asked for where it is not
 * @retval TULLE_ERR_MISMATCH ranks disagree about types or options
 * @retval TULLE_ERR_OVERFLOW more than 2^31 - 1 rows, columns or foreign columns on one rank
 * @retval TULLE_ERR_NOMEM; TULLE_ERR_TRANSPORT; TULLE_ERR_REMOTE another rank failed
 * @threads one thread per comm at a time
 * @cost O(nonzeros) time and memory, a pattern and up to two plans; with covers O(nonzeros sqrt(rows)) at worst for the
 *       block between two nodes, shared out over the ranks of the node
 * @see Hopcroft, Karp, SIAM J. Comput. 2 (1973), doi:10.1137/0202019; Koenig, Mat. Lapok 38 (1931)
 */
TULLE_API tulle_status_t tulle_spmm_create(tulle_comm_t *comm, const tulle_layout_t *rows,
                                           const tulle_layout_t *columns, const tulle_csr_t *matrix,
                                           const tulle_spmm_options_t *options, tulle_spmm_t **spmm_out);

/**
 * Free the matrix and set *spmm to NULL.
 * @param[in,out] spmm NULL and pointer to NULL are fine
 * @collective all ranks, same order; before MPI_Finalize   @threads one thread per comm at a time
 */
TULLE_API void tulle_spmm_destroy(tulle_spmm_t **spmm);

/** The dense side of one product. Row i of B begins at b + i * b_stride, row i of C at c + i * c_stride; row-major. */
typedef struct tulle_product {
    int64_t width;    /**< [scalars] columns of B and C, >= 1; equal on every rank */
    double alpha;     /**< factor of the product */
    const void *b;    /**< rows of B on this rank; NULL if there are none */
    int64_t b_stride; /**< [scalars] from row to row, >= width; 0 = width */
    double beta;      /**< factor of the old C; 0 = C is not read and may hold anything, NaN included */
    void *c;          /**< rows of C on this rank; NULL if there are none; must not overlap B */
    int64_t c_stride; /**< [scalars] from row to row, >= width; 0 = width */
} tulle_product_t;

/* clang-format off */
/** C = A B with dense rows of @p n scalars. */
#define TULLE_PRODUCT(n, b, c) {(n), 1.0, (b), 0, 0.0, (c), 0}
/* clang-format on */

/**
 * C = alpha A B + beta C. B has the rows of the column layout, C those of the row layout. Sums run in a fixed order:
 * the result is bitwise the same from run to run. Products of f16 and bf16 are summed up in f32, on the way between
 * ranks too, and every scalar of C is rounded once, to nearest even: it is off by at most 2^-11 (f16) or 2^-8 (bf16) of
 * itself, or 2^-25 (f16) where it is below 2^-14, beside what n products and sums in f32 are off, n 2^-24 times the sum
 * of their magnitudes. f16 beyond 65504 becomes infinite. Buffers, strides, factors and width may change from run to
 * run; the first run of a width also binds exchanges, kept as num_bindings says.
 * @collective all ranks of the matrix; blocks
 * @param[in,out] spmm    borrowed
 * @param[in]     product borrowed for the call
 * @param[in]     stream  NULL where rows are in host memory. In device memory: cudaStream_t, NULL = the default one.
 * The product runs after what is on it, what comes on it later sees C, and B and C are borrowed until it is through.
 * The host waits for other ranks' calls, unless is_trusted, and for the rows where MPI brings them between nodes;
 * otherwise the call can be captured into a graph, once its width and direction have run. Products of one matrix follow
 * each other: they share buffers, so those on different streams must be ordered by events
 * @retval TULLE_ERR_ARG a null pointer, a width below 1, a stride below the width, B and C overlap; with device memory,
 * rows that its GPU does not reach
 * @retval TULLE_ERR_MISMATCH ranks disagree about the width
 * @retval TULLE_ERR_UNSUPPORTED rows in device or managed memory, or a stream, unless the options' space says so;
 * TULLE_ERR_OVERFLOW sizes beyond 2^62 bytes
 * @retval TULLE_ERR_NOMEM; TULLE_ERR_TRANSPORT; TULLE_ERR_TIMEOUT; TULLE_ERR_REMOTE another rank failed. C may then
 * hold a part of the result
 * @threads one thread per comm at a time
 * @cost the longer of exchange and multiplication, by and large, and one small reduction, unless is_trusted
 */
TULLE_API tulle_status_t tulle_spmm_run(tulle_spmm_t *spmm, const tulle_product_t *product, void *stream);

/**
 * C = alpha A^T B + beta C. B has the rows of the row layout, C those of the column layout. The exact adjoint of
 * tulle_spmm_run(), over the same plans with their roles exchanged; the first call also transposes the local blocks.
 * @collective all ranks of the matrix; blocks
 * @param[in,out] spmm    borrowed
 * @param[in]     product borrowed for the call
 * @param[in]     stream  as in tulle_spmm_run()
 * @return as tulle_spmm_run()
 * @threads one thread per comm at a time   @cost as tulle_spmm_run()
 */
TULLE_API tulle_status_t tulle_spmm_run_transpose(tulle_spmm_t *spmm, const tulle_product_t *product, void *stream);

/**
 * Inner products at the nonzeros: values_out[e] = alpha * (row i of Y) . (row j of X) for nonzero e in row i and column
 * j of A, in the order of the CSR. With Y a gradient with respect to C = A X, that is the gradient with respect to the
 * values of A. Rows travel over the same plans: X as B in tulle_spmm_run(), and Y where that has partial rows of C.
 * @collective all ranks of the matrix; blocks
 * @param[in,out] spmm       borrowed
 * @param[in]     product    borrowed for the call; b is X (column layout), c is Y (row layout) and is only read; beta
 * is ignored
 * @param[out]    values_out [nonzeros of this rank] of the matrix' value type, summed up in f64 and rounded once; where
 * rows are, in host or in device memory
 * @param[in]     stream     as in tulle_spmm_run()
 * @return as tulle_spmm_run()
 * @threads one thread per comm at a time
 * @cost as tulle_spmm_run(), and one scalar per nonzero that is held elsewhere; in device memory 12 bytes per nonzero,
 * from the first call on
 */
TULLE_API tulle_status_t tulle_spmm_run_sampled(tulle_spmm_t *spmm, const tulle_product_t *product, void *values_out,
                                                void *stream);

/**
 * Replace the values of the matrix; its nonzeros stay where they are. With rows in device memory: when no product, and
 * nothing that writes the new values, is on a stream any more.
 * @collective all ranks of the matrix; blocks
 * @param[in,out] spmm   borrowed
 * @param[in]     values [nonzeros of this rank] copied, in the order of the CSR; of the matrix' value type; in host
 * memory, or, where rows are there, in device memory, from which they are copied by way of the host
 * @retval TULLE_ERR_ARG a null pointer; TULLE_ERR_NOMEM; TULLE_ERR_TRANSPORT; TULLE_ERR_REMOTE another rank failed
 * @threads one thread per comm at a time   @cost O(nonzeros), and one scalar per nonzero that is held elsewhere
 */
TULLE_API tulle_status_t tulle_spmm_set_values(tulle_spmm_t *spmm, const void *values);

/** What a distributed matrix costs, summed over all ranks. */
typedef struct tulle_spmm_stats {
    size_t struct_size;       /**< [bytes] set by the caller before the call */
    tulle_cover_t cover;      /**< that is in use: never AUTO */
    int32_t num_parts;        /**< [count] parts in which arriving rows are multiplied, on the rank with most */
    int64_t num_rows;         /**< [rows] */
    int64_t num_columns;      /**< [columns] */
    int64_t num_nonzeros;     /**< [count] */
    int64_t moved_nonzeros;   /**< [count] held by the owner of their column, for partial rows of C */
    int64_t columns_rows;     /**< [rows] that cross between nodes if only rows of B do, each once per node: dedup */
    int64_t cover_rows;       /**< [rows] that cross with the cover: gathered rows of B and scattered rows of C */
    int64_t gathered_rows;    /**< [rows] of B among them */
    int64_t scattered_rows;   /**< [rows] of C among them */
    int64_t busiest_nonzeros; /**< [count] multiplied by the rank with most */
    double setup_ns;          /**< [ns] tulle_spmm_create(), slowest rank */
    double cover_ns;          /**< [ns] of which finding the cover and handing over nonzeros */
} tulle_spmm_stats_t;

/**
 * Count what crosses between nodes and who multiplies how much.
 * @collective all ranks of the matrix; blocks
 * @param[in]     spmm  borrowed
 * @param[in,out] stats struct_size set by the caller; equal on every rank afterwards
 * @retval TULLE_ERR_ARG a null pointer or struct_size unset; TULLE_ERR_TRANSPORT; TULLE_ERR_REMOTE
 * @threads one thread per comm at a time   @cost two reductions
 */
TULLE_API tulle_status_t tulle_spmm_get_stats(const tulle_spmm_t *spmm, tulle_spmm_stats_t *stats);

/**
 * The plan that gathers rows of B, or the one that scatters partial rows of C, as tulle_spmm_run() uses them, to be
 * explained or counted level by level.
 * @param[in] spmm      borrowed
 * @param[in] direction TULLE_GATHER or TULLE_SCATTER
 * @return borrowed, valid while the matrix lives; NULL for NULL, and for the scatter where no rank has partial rows
 * @collective no   @threads any   @cost O(1)
 */
TULLE_API const tulle_plan_t *tulle_spmm_plan(const tulle_spmm_t *spmm, tulle_direction_t direction);

TULLE_END_DECLS

#endif
