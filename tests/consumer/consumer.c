/* SPDX-License-Identifier: Apache-2.0
 * A user's program that calls every public function, in the words that C and C++ share. Runs on any number of ranks;
 * a wrong result ends the job. Usage: consumer PREFIX, which begins the names of the files that it writes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mpi.h>

#include <tulle/mpi.h>
#include <tulle/tulle.h>

#define NUM_OWNED 10
#define WIDTH     3

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s\n  last error: %s: %s\n", __FILE__, __LINE__, #condition,                       \
                    tulle_status_name(tulle_last_error()->status), tulle_last_error()->text);                          \
            MPI_Abort(MPI_COMM_WORLD, 1);                                                                              \
        }                                                                                                              \
    } while (0)

#define CHECK_OK(call) CHECK((call) == TULLE_OK)

/* A row of this program holds its global id and what follows it. */
static double value_of(int64_t id, int column)
{
    return (double)(id * WIDTH + column);
}

static void fill(double *rows, int64_t first, int64_t num_rows)
{
    for (int64_t i = 0; i < num_rows; i++)
        for (int column = 0; column < WIDTH; column++)
            rows[i * WIDTH + column] = value_of(first + i, column);
}

static void use_names(void)
{
    tulle_datatype_t datatype = TULLE_F64;
    char version[32];
    snprintf(version, sizeof version, "%d.%d.%d", TULLE_VERSION_MAJOR, TULLE_VERSION_MINOR, TULLE_VERSION_PATCH);
    CHECK(strcmp(tulle_version(), version) == 0);
    CHECK(strcmp(tulle_status_name(TULLE_ERR_ARG), "TULLE_ERR_ARG") == 0);
    CHECK(strcmp(tulle_status_text(TULLE_OK), "success") == 0);
    CHECK(tulle_datatype_size(TULLE_C128) == 16);
    CHECK(strcmp(tulle_datatype_name(TULLE_BF16), "bf16") == 0);
    CHECK_OK(tulle_datatype_parse("f32", &datatype));
    CHECK(datatype == TULLE_F32);
    CHECK(tulle_datatype_parse("f128", &datatype) == TULLE_ERR_ARG);
    CHECK(tulle_last_error()->status == TULLE_ERR_ARG && tulle_last_error()->text[0] != '\0');
    CHECK(strcmp(tulle_op_name(TULLE_OP_MAX), "max") == 0);
    CHECK(strcmp(tulle_strategy_name(TULLE_STRATEGY_BALANCED), "balanced") == 0);
}

static void use_memory(void)
{
    tulle_space_t space = TULLE_SPACE_DEVICE;
    void *memory = NULL;
    tulle_status_t st = tulle_alloc(TULLE_SPACE_PINNED, 100, &memory);
    CHECK(st == TULLE_OK || st == TULLE_ERR_UNSUPPORTED); /* without a GPU */
    tulle_free(&memory);
    CHECK_OK(tulle_alloc(TULLE_SPACE_HOST, 100, &memory));
    CHECK_OK(tulle_space_of(memory, &space));
    CHECK(strcmp(tulle_space_name(space), "host") == 0);
    tulle_free(&memory);
    CHECK(memory == NULL);
}

static void use_topology(const char *prefix, int rank)
{
    tulle_topology_t *topology = NULL;
    tulle_topology_t *copy = NULL;
    tulle_link_t link = {1500.0, 25e9, 4, 300.0, 0, 100.0};
    tulle_carrier_t carrier = {TULLE_TRANSPORT_MPI, 0, 0, 0, 0};
    char path[1024];
    CHECK_OK(tulle_topology_parse("2x4", 8, &topology));
    CHECK(tulle_topology_num_ranks(topology) == 8);
    CHECK(tulle_topology_num_levels(topology) == 2);
    CHECK(strcmp(tulle_topology_level_name(topology, 0), "node") == 0);
    CHECK(tulle_topology_group(topology, 0, 5) == 1);
    CHECK(tulle_topology_num_groups(topology, 0) == 2);
    CHECK_OK(tulle_topology_set_link(topology, 0, &link));
    CHECK_OK(tulle_topology_set_carrier(topology, 0, &carrier));
    CHECK_OK(tulle_topology_dup(topology, &copy));
    tulle_topology_destroy(&topology);
    CHECK(topology == NULL);

    snprintf(path, sizeof path, "%s.rank%d.topo", prefix, rank);
    CHECK_OK(tulle_topology_save(copy, path));
    CHECK_OK(tulle_topology_load(path, 8, &topology));
    remove(path);
    link.num_links = 0;
    CHECK_OK(tulle_topology_get_link(topology, 0, &link));
    CHECK(link.num_links == 4);
    carrier.transport = TULLE_TRANSPORT_AUTO;
    CHECK_OK(tulle_topology_get_carrier(topology, 0, &carrier));
    CHECK(carrier.transport == TULLE_TRANSPORT_MPI);
    CHECK(strcmp(tulle_topology_text(topology), tulle_topology_text(copy)) == 0);
    tulle_topology_destroy(&copy);
    tulle_topology_destroy(&topology);

    CHECK_OK(tulle_topology_discover(MPI_COMM_WORLD, &topology));
    if (rank == 0)
        CHECK_OK(tulle_topology_print(topology, stdout));
    tulle_topology_destroy(&topology);
}

/* Every way to say what is needed; all but the last pattern are only looked at. */
static tulle_pattern_t *use_patterns(tulle_comm_t *comm)
{
    const int rank = tulle_comm_rank(comm);
    const int size = tulle_comm_size(comm);
    const int next = (rank + 1) % size;
    tulle_pattern_t *pattern = NULL;
    tulle_layout_t owned = TULLE_LAYOUT_BLOCK(NUM_OWNED);
    int64_t needed_ids[2];
    int64_t row_ptr[NUM_OWNED + 1];
    int32_t owner_rank[1];
    int64_t owner_row[1] = {4};
    tulle_grid_t grid = {2, 5, {8, 0, 1}, {0, 0, 0}, {8, 0, 1}, {0, 0, 0}};

    owner_rank[0] = next;
    CHECK_OK(tulle_pattern_create_from_forest(comm, NUM_OWNED, 1, owner_rank, owner_row, &pattern));
    CHECK(tulle_pattern_num_owned(pattern) == NUM_OWNED);
    tulle_pattern_destroy(&pattern);

    grid.dims[1] = 2 * size;
    grid.lo[1] = 2 * rank;
    grid.hi[1] = 2 * rank + 2;
    CHECK_OK(tulle_pattern_create_from_grid(comm, &grid, &pattern));
    CHECK(tulle_pattern_num_needed(pattern) == (rank > 0 ? 8 : 0) + (rank < size - 1 ? 8 : 0));
    tulle_pattern_destroy(&pattern);

    needed_ids[0] = (int64_t)next * NUM_OWNED + 4;
    needed_ids[1] = (int64_t)next * NUM_OWNED;
    for (int i = 0; i <= NUM_OWNED; i++)
        row_ptr[i] = i < 2 ? i : 2;
    CHECK_OK(tulle_pattern_create_from_csr(comm, &owned, &owned, row_ptr, needed_ids, &pattern));
    CHECK(tulle_pattern_num_needed(pattern) == (size > 1 ? 2 : 0));
    CHECK(size == 1 || tulle_pattern_needed_ids(pattern)[0] == needed_ids[1]); /* ascending */
    tulle_pattern_destroy(&pattern);

    CHECK_OK(tulle_pattern_create_from_ids(comm, &owned, needed_ids, 2, &pattern));
    CHECK(tulle_pattern_needed_ids(pattern)[0] == needed_ids[0]);
    return pattern;
}

static void inspect_plan(const tulle_plan_t *plan, int rank)
{
    tulle_plan_stats_t stats;
    tulle_status_t json = TULLE_OK;
    int64_t position[2];
    memset(&stats, 0, sizeof stats);
    stats.struct_size = sizeof stats;
    CHECK(tulle_plan_num_owned(plan) == NUM_OWNED);
    CHECK(tulle_plan_num_needed(plan) == 2);
    CHECK(tulle_plan_num_ghosts(plan) == 2);
    CHECK(tulle_plan_strategy(plan) == TULLE_STRATEGY_AUTO);
    CHECK_OK(tulle_plan_ghost_order(plan, position));
    CHECK(position[0] == 0 && position[1] == 1);
    CHECK_OK(tulle_plan_get_stats(plan, &stats));
    CHECK(stats.num_levels >= 1 && stats.num_owned > 0);
    CHECK_OK(tulle_plan_explain(plan, TULLE_EXPLAIN_TABLE, rank == 0 ? stdout : NULL));
    json = tulle_plan_explain(plan, TULLE_EXPLAIN_JSON, rank == 0 ? stdout : NULL);
    CHECK(json == TULLE_OK || json == (rank == 0 ? TULLE_ERR_UNSUPPORTED : TULLE_ERR_REMOTE)); /* without Jansson */
}

static void measure_links(tulle_comm_t *comm)
{
    tulle_probe_options_t options = TULLE_PROBE_OPTIONS_INIT;
    tulle_topology_t *topology = NULL;
    options.time_ms = 10;
    CHECK_OK(tulle_comm_probe(comm, &options, &topology));
    CHECK(strcmp(tulle_topology_text(topology), tulle_topology_text(tulle_comm_topology(comm))) == 0);
    tulle_topology_destroy(&topology);
}

/* Values that eight bits hold cross unchanged, in a quarter of the bytes. */
static void cross_in_less(const tulle_plan_t *plan, int size)
{
    float owned[NUM_OWNED * WIDTH];
    float ghost[2 * WIDTH];
    tulle_field_t field = {NULL, NULL, TULLE_F32, WIDTH, 0, 0};
    tulle_exchange_options_t options = TULLE_EXCHANGE_OPTIONS_INIT;
    tulle_exchange_stats_t stats;
    tulle_exchange_t *exchange = NULL;
    for (int i = 0; i < NUM_OWNED * WIDTH; i++)
        owned[i] = (float)(i % 16);
    field.owned = owned;
    field.ghost = ghost;
    options.wire_precision = TULLE_WIRE_PRECISION_FP8;
    CHECK(strcmp(tulle_wire_precision_name(options.wire_precision), "fp8") == 0);
    CHECK_OK(tulle_exchange_create(plan, TULLE_GATHER, &field, 1, &options, &exchange));
    CHECK_OK(tulle_exchange_start(exchange, NULL));
    CHECK_OK(tulle_exchange_wait(exchange));
    CHECK(ghost[0] == owned[4 * WIDTH] && ghost[2 * WIDTH - 1] == owned[WIDTH - 1]);
    stats.struct_size = sizeof stats;
    CHECK_OK(tulle_exchange_get_stats(exchange, &stats));
    CHECK(size == 1 || stats.transports[TULLE_TRANSPORT_MPI].bytes == 2 * size * (WIDTH + 1));
    tulle_exchange_destroy(&exchange);
}

static void move_rows(tulle_plan_t *plan, int rank, int size)
{
    const int64_t first = (int64_t)rank * NUM_OWNED;
    const int64_t next = (int64_t)((rank + 1) % size) * NUM_OWNED;
    double owned[NUM_OWNED * WIDTH];
    double ghost[2 * WIDTH];
    tulle_exchange_t *exchange = NULL;
    tulle_field_t field = {NULL, NULL, TULLE_F64, WIDTH, 0, 0};
    tulle_exchange_stats_t stats;
    tulle_transport_t transport = TULLE_TRANSPORT_AUTO;
    tulle_status_t st = TULLE_IN_PROGRESS;
    field.owned = owned;
    field.ghost = ghost;
    fill(owned, first, NUM_OWNED);

    CHECK_OK(tulle_exchange_create(plan, TULLE_GATHER, &field, 1, NULL, &exchange));
    CHECK_OK(tulle_exchange_start(exchange, NULL));
    while (st == TULLE_IN_PROGRESS)
        st = tulle_exchange_test(exchange);
    CHECK_OK(st);
    CHECK(ghost[0] == value_of(next + 4, 0) && ghost[2 * WIDTH - 1] == value_of(next, WIDTH - 1));
    CHECK_OK(tulle_exchange_start(exchange, NULL));
    CHECK_OK(tulle_exchange_wait(exchange));
    stats.struct_size = sizeof stats;
    CHECK_OK(tulle_exchange_get_stats(exchange, &stats));
    CHECK(!stats.on_device && stats.transports[TULLE_TRANSPORT_CUDA_IPC].messages == 0);
    CHECK_OK(tulle_exchange_explain(exchange, stdout));
    CHECK_OK(tulle_transport_parse("shared_memory", &transport));
    CHECK(strcmp(tulle_transport_name(transport), "shared_memory") == 0);
    tulle_exchange_destroy(&exchange);
    CHECK(tulle_exchange_num_abandoned() == 0);

    memset(ghost, 0, sizeof ghost);
    CHECK_OK(tulle_gather(plan, owned, ghost, TULLE_F64, WIDTH, NULL));
    CHECK(ghost[0] == value_of(next + 4, 0) && ghost[2 * WIDTH - 1] == value_of(next, WIDTH - 1));
    CHECK_OK(tulle_gather_with(plan, owned, ghost, TULLE_F64, WIDTH, NULL, NULL));
    CHECK_OK(tulle_scatter_with(plan, ghost, owned, TULLE_F64, WIDTH, NULL, NULL));
    CHECK_OK(tulle_scatter(plan, ghost, owned, TULLE_F64, WIDTH, TULLE_OP_MAX, NULL)); /* the sums are larger */
    CHECK(owned[0] == 2 * value_of(first, 0) && owned[4 * WIDTH] == 2 * value_of(first + 4, 0));
    CHECK(owned[WIDTH] == value_of(first + 1, 0));
}

/* A matrix with 2 on its diagonal and 1 in the next rank's first column: rows and columns are laid out alike. */
static void multiply(tulle_comm_t *comm, int rank, int size)
{
    const int64_t first = (int64_t)rank * NUM_OWNED;
    const int64_t next = (int64_t)((rank + 1) % size) * NUM_OWNED;
    tulle_layout_t layout = TULLE_LAYOUT_BLOCK(NUM_OWNED);
    tulle_spmm_options_t options = TULLE_SPMM_OPTIONS_INIT;
    int64_t row_ptr[NUM_OWNED + 1];
    int64_t columns[2 * NUM_OWNED];
    double values[2 * NUM_OWNED];
    double b[NUM_OWNED * WIDTH];
    double c[NUM_OWNED * WIDTH];
    int64_t n = 0;
    tulle_spmm_t *spmm = NULL;
    tulle_spmm_stats_t stats;
    tulle_csr_t csr = {row_ptr, columns, values, TULLE_I64, TULLE_F64};
    tulle_product_t product = TULLE_PRODUCT(WIDTH, b, c);
    row_ptr[0] = 0;
    for (int64_t i = 0; i < NUM_OWNED; i++) {
        int64_t low = next < first + i ? next : first + i;
        int64_t high = next < first + i ? first + i : next;
        columns[n] = low;
        values[n++] = low == first + i ? 2 : 1;
        if (low < high) {
            columns[n] = high;
            values[n++] = high == first + i ? 2 : 1;
        }
        row_ptr[i + 1] = n;
    }
    fill(b, first, NUM_OWNED);
    CHECK_OK(tulle_cover_parse("least", &options.cover));
    CHECK(strcmp(tulle_cover_name(options.cover), "least") == 0);
    CHECK_OK(tulle_spmm_create(comm, &layout, &layout, &csr, &options, &spmm));
    CHECK(tulle_spmm_plan(spmm, TULLE_GATHER) != NULL);
    CHECK_OK(tulle_spmm_run(spmm, &product, NULL));
    CHECK(c[WIDTH] == 2 * value_of(first + 1, 0) + value_of(next, 0));
    CHECK_OK(tulle_spmm_run_transpose(spmm, &product, NULL));
    CHECK(c[WIDTH] == 2 * value_of(first + 1, 0));
    CHECK_OK(tulle_spmm_run_sampled(spmm, &product, values, NULL));
    CHECK_OK(tulle_spmm_set_values(spmm, values));
    memset(&stats, 0, sizeof stats);
    stats.struct_size = sizeof stats;
    CHECK_OK(tulle_spmm_get_stats(spmm, &stats));
    CHECK(stats.num_rows == (int64_t)size * NUM_OWNED && stats.cover_rows <= stats.columns_rows);
    tulle_spmm_destroy(&spmm);
    CHECK(spmm == NULL);
}

/* One layer that takes the next rank's rows, adds 1 and cuts off what is above 4; its weights are learned. */
static void learn(tulle_comm_t *comm, int rank, int size)
{
    const int64_t next = (int64_t)((rank + 1) % size) * NUM_OWNED;
    tulle_layout_t layout = TULLE_LAYOUT_BLOCK(NUM_OWNED);
    int64_t row_ptr[NUM_OWNED + 1];
    int64_t columns[NUM_OWNED];
    double weights[NUM_OWNED];
    double bias[NUM_OWNED];
    double x[NUM_OWNED];
    double y[NUM_OWNED];
    void *by_weights[1] = {weights};
    void *by_bias[1] = {bias};
    tulle_layers_t *layers = NULL;
    tulle_layers_options_t options = TULLE_LAYERS_OPTIONS_INIT;
    tulle_batch_t batch = TULLE_BATCH(1, x, y);
    tulle_gradients_t gradients = {y, 0, NULL, 0, by_weights, by_bias, 1, 0};
    for (int64_t i = 0; i < NUM_OWNED; i++) {
        row_ptr[i + 1] = i + 1;
        columns[i] = next + i;
        weights[i] = bias[i] = 1;
        x[i] = (double)i;
    }
    row_ptr[0] = 0;
    tulle_layer_t layer = {layout, {row_ptr, columns, weights, TULLE_I64, TULLE_F64}, bias, TULLE_ACTIVATION_CLAMP, 4,
                           0};
    options.is_training = 1;
    CHECK_OK(tulle_layers_create(comm, &layout, &layer, 1, &options, &layers));
    CHECK(tulle_layers_count(layers) == 1 && tulle_layers_product(layers, 0) != NULL);
    CHECK(strcmp(tulle_activation_name(layer.activation), "clamp") == 0);
    CHECK_OK(tulle_layers_forward(layers, &batch, NULL));
    CHECK(y[0] == 1 && y[1] == 2 && y[NUM_OWNED - 1] == (NUM_OWNED < 4 ? NUM_OWNED : 4));
    CHECK_OK(tulle_layers_backward(layers, &gradients, NULL));
    CHECK(weights[1] == 2 * x[1] && bias[1] == 2); /* y is its own gradient here */
    CHECK_OK(tulle_layers_set_weights(layers, 0, weights, bias));
    tulle_layers_destroy(&layers);
    CHECK(layers == NULL);
}

int main(int argc, char **argv)
{
    tulle_comm_options_t options = TULLE_COMM_OPTIONS_INIT;
    tulle_comm_t *comm = NULL;
    tulle_pattern_t *pattern = NULL;
    tulle_plan_t *plan = NULL;
    const char *prefix = argc > 1 ? argv[1] : "consumer";
    char path[1024];
    int rank = 0;
    int size = 0;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    use_names();
    use_memory();
    use_topology(prefix, rank);

    options.topology_text = "*x1"; /* as if every rank were a node */
    CHECK_OK(tulle_comm_create(MPI_COMM_WORLD, &options, &comm));
    CHECK(tulle_comm_rank(comm) == rank && tulle_comm_size(comm) == size);
    CHECK(tulle_topology_num_groups(tulle_comm_topology(comm), 0) == size);
    CHECK(tulle_comm_is_emulated(comm) == 0 || size > 1);

    measure_links(comm);

    pattern = use_patterns(comm);
    CHECK_OK(tulle_plan_create(comm, pattern, NULL, &plan));
    tulle_pattern_destroy(&pattern);
    inspect_plan(plan, rank);
    move_rows(plan, rank, size);
    cross_in_less(plan, size);

    snprintf(path, sizeof path, "%s.plan", prefix);
    CHECK_OK(tulle_plan_save(plan, path));
    tulle_plan_destroy(&plan);
    CHECK_OK(tulle_plan_load(comm, path, &plan));
    MPI_Barrier(MPI_COMM_WORLD);
    remove(path);
    move_rows(plan, rank, size);

    multiply(comm, rank, size);
    learn(comm, rank, size);

    tulle_plan_destroy(&plan);
    tulle_comm_destroy(&comm);
    MPI_Finalize();
    return 0;
}
