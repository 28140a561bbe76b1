/* SPDX-License-Identifier: Apache-2.0
 * cuSPARSE, loaded when first asked for, as NCCL is: a build with it starts on machines without. Of its ways to
 * multiply, the one is taken whose sums are the same in every run. */
#include "src/device/product_library.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

#include <cusparse.h>

#include "src/arena.h"
#include "src/device/cuda_call.h"
#include "src/fault.h"

#define ALGORITHM CUSPARSE_SPMM_CSR_ALG3

#define FUNCTIONS(X)                                                                                                   \
    X(cusparseCreate)                                                                                                  \
    X(cusparseDestroy)                                                                                                 \
    X(cusparseSetStream)                                                                                               \
    X(cusparseGetErrorString)                                                                                          \
    X(cusparseCreateCsr)                                                                                               \
    X(cusparseDestroySpMat)                                                                                            \
    X(cusparseCreateDnMat)                                                                                             \
    X(cusparseDestroyDnMat)                                                                                            \
    X(cusparseSpMM_bufferSize)                                                                                         \
    X(cusparseSpMM)

typedef struct library {
    int is_there;
#define MEMBER(name) __typeof__(&name) name;
    FUNCTIONS(MEMBER)
#undef MEMBER
} library_t;

/* B or C as the library knows it; made anew where rows or stride change. */
typedef struct dense {
    cusparseDnMatDescr_t matrix;
    void *rows;
    int64_t stride;
} dense_t;

struct tli_cusparse {
    cusparseHandle_t handle;
    cusparseSpMatDescr_t block;
    dense_t b, c;
    void *buffer; /* device memory */
};

static library_t library;

static void load(void)
{
    char name[32];
    snprintf(name, sizeof name, "libcusparse.so.%d", CUSPARSE_VER_MAJOR);
    void *handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    int is_missing = handle == NULL;
    if (handle == NULL)
        return;
        /* Pointers to data and to functions are alike on POSIX, though not in C. */
#define LOOK_UP(name)                                                                                                  \
    *(void **)&library.name = dlsym(handle, #name);                                                                    \
    is_missing |= library.name == NULL;
    FUNCTIONS(LOOK_UP)
#undef LOOK_UP
    library.is_there = !is_missing;
}

int tli_cusparse_is_there(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, load);
    return library.is_there;
}

/* Expects `st` and `done`. */
#define TRY_CUSPARSE(call)                                                                                             \
    do {                                                                                                               \
        cusparseStatus_t code_ = library.call;                                                                         \
        if (code_ != CUSPARSE_STATUS_SUCCESS) {                                                                        \
            st = tli_fail(TULLE_ERR_TRANSPORT, (long)code_, TLI_WHERE, "%s: cuSPARSE says \"%s\"", #call,              \
                          library.cusparseGetErrorString(code_));                                                      \
            goto done;                                                                                                 \
        }                                                                                                              \
    } while (0)

static cudaDataType data_type(tulle_datatype_t datatype)
{
    switch (datatype) {
    case TULLE_F64:
        return CUDA_R_64F;
    case TULLE_F16:
        return CUDA_R_16F;
    case TULLE_BF16:
        return CUDA_R_16BF;
    default:
        return CUDA_R_32F;
    }
}

static tulle_status_t describe(dense_t *dense, int64_t num_rows, int64_t width, int64_t stride, void *rows,
                               tulle_datatype_t datatype)
{
    tulle_status_t st = TULLE_OK;
    if (dense->matrix != NULL && dense->rows == rows && dense->stride == stride)
        return TULLE_OK;
    if (dense->matrix != NULL)
        library.cusparseDestroyDnMat(dense->matrix);
    dense->matrix = NULL;
    TRY_CUSPARSE(
        cusparseCreateDnMat(&dense->matrix, num_rows, width, stride, rows, data_type(datatype), CUSPARSE_ORDER_ROW));
    dense->rows = rows;
    dense->stride = stride;
done:
    return st;
}

static tulle_status_t describe_both(tli_cusparse_t *p, const tli_product_args_t *a)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(describe(&p->b, a->block.num_cols, a->width, a->b_stride, (void *)a->b, a->datatype)); /* is only read */
    TLI_TRY(describe(&p->c, a->block.num_rows, a->width, a->c_stride, a->c, tli_sum_type(a->datatype)));
done:
    return st;
}

/* Factors are of the type of sums. */
typedef struct factors {
    float alpha_f32, beta_f32;
    double alpha_f64, beta_f64;
    const void *alpha, *beta;
} factors_t;

static void take_factors(const tli_product_args_t *a, factors_t *f)
{
    int is_f64 = a->datatype == TULLE_F64;
    *f = (factors_t){(float)a->alpha, (float)a->beta, a->alpha, a->beta, NULL, NULL};
    f->alpha = is_f64 ? (const void *)&f->alpha_f64 : &f->alpha_f32;
    f->beta = is_f64 ? (const void *)&f->beta_f64 : &f->beta_f32;
}

tulle_status_t tli_cusparse_open(const tli_product_args_t *like, tli_cusparse_t **product_out)
{
    tulle_status_t st = TULLE_OK;
    const tli_device_sparse_t *block = &like->block;
    tli_cusparse_t *p = NULL;
    factors_t factors;
    size_t bytes = 0;
    TLI_REQUIRE(tli_cusparse_is_there(), TULLE_ERR_UNSUPPORTED, "libcusparse.so.%d was not found", CUSPARSE_VER_MAJOR);
    TLI_TRY(tli_alloc(sizeof *p, &p));
    TRY_CUSPARSE(cusparseCreate(&p->handle));
    /* It writes to none of them. */
    TRY_CUSPARSE(cusparseCreateCsr(&p->block, block->num_rows, block->num_cols, block->num_nonzeros,
                                   (void *)block->row_ptr_32, (void *)block->col, (void *)block->values,
                                   CUSPARSE_INDEX_32I, CUSPARSE_INDEX_32I, CUSPARSE_INDEX_BASE_ZERO,
                                   data_type(like->datatype)));
    TLI_TRY(describe_both(p, like));
    take_factors(like, &factors);
    TRY_CUSPARSE(cusparseSpMM_bufferSize(p->handle, CUSPARSE_OPERATION_NON_TRANSPOSE, CUSPARSE_OPERATION_NON_TRANSPOSE,
                                         factors.alpha, p->block, p->b.matrix, factors.beta, p->c.matrix,
                                         data_type(tli_sum_type(like->datatype)), ALGORITHM, &bytes));
    TLI_CUDA(cudaMalloc(&p->buffer, bytes + 1), "memory for cuSPARSE");
    *product_out = p;
    p = NULL;
done:
    tli_cusparse_close(p);
    return st;
}

tulle_status_t tli_cusparse_multiply(tli_cusparse_t *p, const tli_product_args_t *args, void *stream)
{
    tulle_status_t st = TULLE_OK;
    factors_t factors;
    TLI_TRY(describe_both(p, args));
    take_factors(args, &factors);
    TRY_CUSPARSE(cusparseSetStream(p->handle, (cudaStream_t)stream));
    TRY_CUSPARSE(cusparseSpMM(p->handle, CUSPARSE_OPERATION_NON_TRANSPOSE, CUSPARSE_OPERATION_NON_TRANSPOSE,
                              factors.alpha, p->block, p->b.matrix, factors.beta, p->c.matrix,
                              data_type(tli_sum_type(args->datatype)), ALGORITHM, p->buffer));
done:
    return st;
}

void tli_cusparse_close(tli_cusparse_t *p)
{
    if (p == NULL)
        return;
    if (p->b.matrix != NULL)
        library.cusparseDestroyDnMat(p->b.matrix);
    if (p->c.matrix != NULL)
        library.cusparseDestroyDnMat(p->c.matrix);
    if (p->block != NULL)
        library.cusparseDestroySpMat(p->block);
    if (p->handle != NULL)
        library.cusparseDestroy(p->handle);
    cudaFree(p->buffer);
    tli_free(p);
}
