/* SPDX-License-Identifier: Apache-2.0
 * Frame, random numbers, collective assertions. */
#include "tests/support/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* MPI starts requests of one call "in some arbitrary order". Here it is the one that nobody counts on. */
int MPI_Startall(int count, MPI_Request requests[])
{
    int code = MPI_SUCCESS;
    for (int i = count - 1; i >= 0 && code == MPI_SUCCESS; i--)
        code = PMPI_Start(&requests[i]);
    return code;
}

#define PATIENCE_MS 60000

typedef struct block {
    struct block *next;
    void *memory; /* its own allocation, so that a sanitizer sees overruns */
    int is_rows;  /* from tulle_alloc() */
} block_t;

static block_t *blocks = NULL;

int spt_rank(void)
{
    int rank = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    return rank;
}

int spt_size(void)
{
    int size = 0;
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    return size;
}

static uint64_t seed(void)
{
    const char *text = getenv("TULLE_TEST_SEED");
    return text != NULL ? strtoull(text, NULL, 0) : 1;
}

void spt_init(int *argc, char ***argv)
{
    MPI_Init(argc, argv);
    if (spt_size() > 1)
        setenv("CMOCKA_TEST_ABORT", "1", 1);
    if (spt_rank() == 0)
        print_message("TULLE_TEST_SEED=%llu\n", (unsigned long long)seed());
}

int spt_finish(int failures)
{
    int total = 0;
    MPI_Allreduce(&failures, &total, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    MPI_Finalize();
    return total != 0;
}

static void *keep(void *memory, int is_rows)
{
    block_t *block = malloc(sizeof *block);
    assert_non_null(block);
    assert_non_null(memory);
    *block = (block_t){blocks, memory, is_rows};
    blocks = block;
    return memory;
}

void *spt_alloc(int64_t count, size_t size)
{
    return keep(calloc(count > 0 ? (size_t)count : 1, size), 0);
}

void *spt_alloc_rows(int64_t count, size_t size)
{
    void *memory = NULL;
    assert_int_equal(tulle_alloc(TULLE_SPACE_HOST, (size_t)count * size, &memory), TULLE_OK);
    memset(memory, 0, (size_t)count * size);
    return keep(memory, 1);
}

int spt_teardown(void **state)
{
    (void)state;
    while (blocks != NULL) {
        block_t *block = blocks;
        blocks = block->next;
        if (block->is_rows)
            tulle_free(&block->memory);
        else
            free(block->memory);
        free(block);
    }
    return 0;
}

/* --- random numbers: splitmix64 ---------------------------------------------------------------------------------- */

uint64_t spt_next(spt_random_t *random)
{
    uint64_t z = random->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

spt_random_t spt_random_shared(uint64_t stream)
{
    spt_random_t random = {seed() * UINT64_C(0x2545f4914f6cdd1d) + stream};
    random.state = spt_next(&random);
    return random;
}

spt_random_t spt_random_mine(uint64_t stream)
{
    spt_random_t random = spt_random_shared(stream);
    random.state += (uint64_t)(spt_rank() + 1) << 40;
    random.state = spt_next(&random);
    return random;
}

int64_t spt_below(spt_random_t *random, int64_t n)
{
    return (int64_t)(spt_next(random) % (uint64_t)n);
}

/* --- assertions -------------------------------------------------------------------------------------------------- */

void spt_check_all(int holds, const char *what, const char *file, int line)
{
    int all = 0, mine = holds != 0;
    if (!mine)
        print_error("rank %d: %s (%s:%d); last error: %s\n", spt_rank(), what, file, line, tulle_last_error()->text);
    MPI_Allreduce(&mine, &all, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
    if (!all)
        _fail(file, line);
}

void spt_check_ok_all(tulle_status_t status, const char *what, const char *file, int line)
{
    if (status != TULLE_OK)
        print_error("rank %d: %s at %s\n", spt_rank(), tulle_status_name(status), tulle_last_error()->where);
    spt_check_all(status == TULLE_OK, what, file, line);
}

void spt_check_fails_all(tulle_status_t status, const char *what, const char *file, int line)
{
    spt_check_all(status < 0, what, file, line);
}

static void print_unexpected(tulle_status_t status, tulle_status_t expected, const char *words)
{
    print_error("rank %d: %s, expected %s with \"%s\"\n", spt_rank(), tulle_status_name(status),
                tulle_status_name(expected), words);
}

void spt_check_fails_alike(tulle_status_t status, tulle_status_t expected, const char *words, const char *what,
                           const char *file, int line)
{
    int is_right = status == expected && strstr(tulle_last_error()->text, words) != NULL;
    if (!is_right)
        print_unexpected(status, expected, words);
    spt_check_all(is_right, what, file, line);
}

void spt_check_blames(tulle_status_t status, tulle_status_t expected, int culprit, const char *words, const char *what,
                      const char *file, int line)
{
    char name[32] = "";
    int is_right = strstr(tulle_last_error()->text, words) != NULL;
    if (spt_rank() != culprit) {
        expected = TULLE_ERR_REMOTE;
        snprintf(name, sizeof name, "rank %d: ", culprit);
    }
    is_right = is_right && status == expected && strstr(tulle_last_error()->text, name) != NULL;
    is_right = is_right && (spt_rank() == culprit || tulle_last_error()->rank == culprit);
    if (!is_right)
        print_unexpected(status, expected, words);
    spt_check_all(is_right, what, file, line);
}

/* --- communicators ----------------------------------------------------------------------------------------------- */

tulle_comm_t *spt_comm(const char *topology, int disable_shared_memory)
{
    tulle_comm_options_t options = TULLE_COMM_OPTIONS_INIT;
    tulle_comm_t *comm = NULL;
    options.topology_text = topology;
    options.timeout_ms = PATIENCE_MS;
    options.disable_shared_memory = disable_shared_memory;
    spt_assert_ok_all(tulle_comm_create(MPI_COMM_WORLD, &options, &comm));
    return comm;
}

/* One kind of topology; 0 when there is none of this many ranks. */
static int write_topology(int kind, int n, char *text, size_t size)
{
    int a = (n + 1) / 3, b = n / 5 + 1, c = n - a - b;
    switch (kind) {
    case 0:
        return snprintf(text, size, "1x%d", n);
    case 1:
        return n > 1 ? snprintf(text, size, "%dx1", n) : 0;
    case 2:
        return n > 2 && n % 2 == 0 ? snprintf(text, size, "2x%d", n / 2) : 0;
    case 3:
        return n > 4 && n % 2 == 0 ? snprintf(text, size, "%dx2", n / 2) : 0;
    case 4:
        return n % 4 == 0 ? snprintf(text, size, "2x2x%d", n / 4) : 0;
    case 5:
        return n > 2 ? snprintf(text, size, "%d,%d,%d", a, b, c) : 0;
    case 6:
        return n > 2 && n % 2 == 0 ? snprintf(text, size, "2x%d:cyclic", n / 2) : 0;
    case 7:
        return n > 3 ? snprintf(text, size, "%d,%d,%d:cyclic", c, a, b) : 0;
    case 8:
        return n > 4 ? snprintf(text, size, "(2,1),(1,%d)", n - 4) : 0;
    case 9:
        return n > 6 ? snprintf(text, size, "(2,1),(1,%d),(1x1):cyclic", n - 5) : 0;
    default:
        return 0;
    }
}

const char *spt_topology(int i)
{
    static char text[64];
    int found = -1;
    for (int kind = 0; kind < 10 && found < i; kind++)
        found += write_topology(kind, spt_size(), text, sizeof text) > 0;
    return found == i ? text : NULL;
}
