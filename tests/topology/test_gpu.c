/* SPDX-License-Identifier: Apache-2.0
 * GPU domains on machines as their vendors describe them, in any order of the GPUs, and on random ones against all
 * subsets tried one by one; costs of links. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "topology/gpu.h"
#include "trees.h"

#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))

/* A machine as `nvidia-smi topo -m` shows it, without the diagonal: a digit = so many NVLinks, and P PIX or PXB (PCIe
 * switches), H PHB (host bridge), S SYS (sockets), ? not known. */
typedef struct machine {
    const char *name;
    int capability;
    int num_gpus;
    const char *matrix[16];
    const char *domains; /* one letter for each GPU */
    tli_gpu_distance_t reach;
    double inside_bytes_per_second; /* 0 = there is no pair */
    double across_bytes_per_second;
} machine_t;

static const machine_t machines[] = {
    /* NVSwitch: 18 NVLinks of 25 GB/s to any one peer. */
    {"DGX H100",
     90,
     8,
     {"-IIIIIII", "I-IIIIII", "II-IIIII", "III-IIII", "IIII-III", "IIIII-II", "IIIIII-I", "IIIIIII-"},
     "aaaaaaaa",
     TLI_GPU_NVLINK,
     450e9,
     0},
    /* The hybrid cube mesh: two quads, linked corner by corner. */
    {"DGX-1 V100",
     70,
     8,
     {"-1122SSS", "1-21S2SS", "12-2SS1S", "212-SSS1", "2SSS-112", "S2SS1-21", "SS1S12-2", "SSS1212-"},
     "aaaabbbb",
     TLI_GPU_NVLINK,
     25e9,
     15.76e9},
    {"Summit",
     70,
     6,
     {"-22SSS", "2-2SSS", "22-SSS", "SSS-22", "SSS2-2", "SSS22-"},
     "aaabbb",
     TLI_GPU_NVLINK,
     50e9,
     15.76e9},
    {"bridged pairs", 86, 4, {"-4HH", "4-HH", "HH-4", "HH4-"}, "aabb", TLI_GPU_NVLINK, 56.25e9, 15.76e9},
    {"PCIe, two sockets", 80, 4, {"-PSS", "P-SS", "SS-P", "SSP-"}, "aabb", TLI_GPU_HOST_BRIDGE, 15.76e9, 15.76e9},
    {"PCIe, one socket", 80, 4, {"-PHH", "P-HH", "HH-H", "HHH-"}, "aaaa", TLI_GPU_HOST_BRIDGE, 15.76e9, 0},
    {"one GPU", 90, 1, {"-"}, "a", TLI_GPU_HOST_BRIDGE, 0, 0},
    {"two of three linked", 80, 3, {"-SS", "S-4", "S4-"}, "abb", TLI_GPU_NVLINK, 100e9, 15.76e9},
};

static tli_gpu_link_t read_link(int capability, char symbol)
{
    static const char distances[] = "-NPHS?"; /* in the order of tli_gpu_distance_t */
    tli_gpu_link_t link = {.capability = capability, .peer_access = 1};
    if (symbol >= '1' && symbol <= '9')
        link = (tli_gpu_link_t){TLI_GPU_NVLINK, symbol - '0', capability, 0, 0, 1};
    else if (symbol == 'I')
        link = (tli_gpu_link_t){TLI_GPU_NVLINK, 18, capability, 0, 0, 1};
    else
        link.distance = (int32_t)(strchr(distances, symbol) - distances);
    return link;
}

/* GPU i of the links is GPU order[i] of the machine. */
static void read_links(const machine_t *machine, const int *order, tli_gpu_link_t *links)
{
    int n = machine->num_gpus;
    for (int a = 0; a < n; a++)
        for (int b = 0; b < n; b++)
            links[a * n + b] = read_link(machine->capability, machine->matrix[order[a]][order[b]]);
}

static void shuffle(uint64_t *state, int n, int *order)
{
    for (int i = 0; i < n; i++) {
        int other = trees_random(state, i + 1);
        order[i] = order[other];
        order[other] = i;
    }
}

static void check_domains(const machine_t *machine, const int *order, const tli_gpu_domains_t *found)
{
    for (int a = 0; a < machine->num_gpus; a++)
        for (int b = 0; b < machine->num_gpus; b++)
            if ((found->domain_of[a] == found->domain_of[b]) !=
                (machine->domains[order[a]] == machine->domains[order[b]]))
                fail_msg("%s: GPUs %d and %d", machine->name, order[a], order[b]);
    assert_int_equal(found->reach, machine->reach);
    assert_true(found->inside.bytes_per_second == machine->inside_bytes_per_second);
    assert_true(found->across.bytes_per_second == machine->across_bytes_per_second);
}

static void test_domains_of_known_machines_in_any_order(void **state)
{
    uint64_t random = 1;
    for (int m = 0; m < COUNT(machines); m++) {
        int order[16];
        const int one_each[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
        for (int i = 0; i < machines[m].num_gpus; i++)
            order[i] = i;
        for (int trial = 0; trial < 50; trial++) {
            tli_gpu_link_t links[16 * 16];
            tli_gpu_domains_t found;
            read_links(&machines[m], order, links);
            tli_gpu_find_domains(machines[m].num_gpus, links, one_each, &found);
            check_domains(&machines[m], order, &found);
            shuffle(&random, machines[m].num_gpus, order);
        }
    }
}

static void test_domains_several_ranks_per_gpu(void **state)
{
    static const int order[] = {0, 1, 2, 3};
    static const int two_on_first[] = {2, 1, 1, 1};
    tli_gpu_link_t links[16];
    tli_gpu_domains_t found;
    /* Without NVLink the GPU is what ranks have in common. */
    read_links(&machines[4], order, links);
    tli_gpu_find_domains(4, links, two_on_first, &found);
    assert_int_equal(found.num_domains, 4);
    assert_int_equal(found.reach, TLI_GPU_SAME);
    assert_true(found.inside.bytes_per_second > 100e9);
    /* With it, ranks on one GPU are no nearer than the slowest pair of the domain says. */
    read_links(&machines[3], order, links);
    tli_gpu_find_domains(4, links, two_on_first, &found);
    assert_int_equal(found.num_domains, 2);
    assert_int_equal(found.reach, TLI_GPU_NVLINK);
    assert_true(found.inside.bytes_per_second == 56.25e9);
}

static void test_domains_unknown_distance_makes_none(void **state)
{
    static const machine_t unknown = {.capability = 80, .num_gpus = 3, .matrix = {"-4?", "4-4", "?4-"}};
    static const int order[] = {0, 1, 2};
    static const int one_each[] = {1, 1, 1};
    tli_gpu_link_t links[9];
    tli_gpu_domains_t found;
    read_links(&unknown, order, links);
    tli_gpu_find_domains(3, links, one_each, &found);
    assert_int_equal(found.num_domains, 0);
    assert_true(found.inside.bytes_per_second == 0 && found.across.bytes_per_second == 0);
}

static int is_linked(const tli_gpu_link_t *links, int n, int subset)
{
    for (int a = 0; a < n; a++)
        for (int b = 0; b < n; b++)
            if (a != b && subset >> a & 1 && subset >> b & 1 && links[a * n + b].distance > TLI_GPU_NVLINK)
                return 0;
    return 1;
}

/* Size of the largest all-to-all linked subset of what is left. */
static int largest_linked(const tli_gpu_link_t *links, int n, int left)
{
    int largest = 0;
    for (int subset = 1; subset < 1 << n; subset++)
        if ((subset & ~left) == 0 && __builtin_popcount((unsigned)subset) > largest && is_linked(links, n, subset))
            largest = __builtin_popcount((unsigned)subset);
    return largest;
}

static int members_of(const tli_gpu_domains_t *domains, int n, int domain)
{
    int members = 0;
    for (int gpu = 0; gpu < n; gpu++)
        members |= (domains->domain_of[gpu] == domain) << gpu;
    return members;
}

/* Taken by decreasing size, each domain is as large as what the ones before left allows. */
static void check_largest_first(const tli_gpu_link_t *links, int n, const tli_gpu_domains_t *found)
{
    int left = (1 << n) - 1;
    for (int size = n; size > 0; size--)
        for (int domain = 0; domain < found->num_domains; domain++) {
            int members = members_of(found, n, domain);
            if (__builtin_popcount((unsigned)members) != size)
                continue;
            assert_true(is_linked(links, n, members));
            assert_int_equal(largest_linked(links, n, left), size);
            left &= ~members;
        }
    assert_int_equal(left, 0);
}

static void test_domains_of_random_machines_are_largest_first(void **state)
{
    uint64_t random = 2;
    const int one_each[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
    for (int trial = 0; trial < 300; trial++) {
        int n = 2 + trees_random(&random, 8);
        int percent = trees_random(&random, 101);
        tli_gpu_link_t links[81];
        tli_gpu_domains_t found;
        for (int a = 0; a < n; a++)
            for (int b = 0; b <= a; b++) {
                const char *symbol = a == b ? "-" : trees_random(&random, 100) < percent ? "4" : "H";
                links[a * n + b] = links[b * n + a] = read_link(80, symbol[0]);
            }
        tli_gpu_find_domains(n, links, one_each, &found);
        if (found.reach == TLI_GPU_NVLINK)
            check_largest_first(links, n, &found);
        else
            assert_int_equal(largest_linked(links, n, (1 << n) - 1), 1);
    }
}

static void test_combine_takes_the_farther_and_slower(void **state)
{
    tli_gpu_link_t nvlink = {TLI_GPU_NVLINK, 4, 90, 5, 16, 1};
    tli_gpu_link_t sockets = {TLI_GPU_SOCKETS, 0, 80, 4, 8, -1};
    tli_gpu_link_t both = tli_gpu_link_combine(&nvlink, &sockets);
    tli_gpu_link_t reversed = tli_gpu_link_combine(&sockets, &nvlink);
    tli_gpu_link_t expected = {TLI_GPU_SOCKETS, 0, 80, 4, 8, 1};
    assert_memory_equal(&both, &expected, sizeof both);
    assert_memory_equal(&reversed, &expected, sizeof reversed);
    /* NVLink that is switched off is no NVLink. */
    sockets = nvlink;
    sockets.peer_access = 0;
    assert_int_equal(tli_gpu_link_combine(&nvlink, &sockets).distance, TLI_GPU_HOST_BRIDGE);
}

/* Farther costs no less, a newer GPU no more, and staging more than peer access. */
static void test_cost_falls_outwards(void **state)
{
    static const int capabilities[] = {60, 70, 80, 90, 100, 120};
    for (int c = 0; c < COUNT(capabilities); c++) {
        tulle_link_t before = {.bytes_per_second = 1e15};
        for (int distance = TLI_GPU_SAME; distance <= TLI_GPU_SOCKETS; distance++) {
            tli_gpu_link_t link = {distance, 4, capabilities[c], 4, 16, 1};
            tulle_link_t cost = tli_gpu_link_cost(&link);
            assert_true(cost.latency_ns >= before.latency_ns && cost.bytes_per_second <= before.bytes_per_second);
            before = cost;
            link.peer_access = 0;
            if (distance >= TLI_GPU_PCIE_SWITCH)
                assert_true(tli_gpu_link_cost(&link).latency_ns > cost.latency_ns &&
                            tli_gpu_link_cost(&link).bytes_per_second < cost.bytes_per_second);
        }
    }
    assert_true(tli_gpu_link_cost(&(tli_gpu_link_t){TLI_GPU_NVLINK, 12, 80, 0, 0, 1}).bytes_per_second == 300e9);
}

static void test_cost_of_pcie_follows_generation_and_lanes(void **state)
{
    tli_gpu_link_t link = {TLI_GPU_PCIE_SWITCH, 0, 80, 0, 0, 1};
    double before = 0;
    for (link.pcie_generation = 1; link.pcie_generation <= 6; link.pcie_generation++) {
        link.pcie_lanes = 8;
        double half = tli_gpu_link_cost(&link).bytes_per_second;
        link.pcie_lanes = 16;
        assert_true(tli_gpu_link_cost(&link).bytes_per_second == 2 * half && half > before);
        before = half;
    }
    /* A generation to come is taken for the latest known. */
    assert_true(tli_gpu_link_cost(&link).bytes_per_second == 2 * before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_domains_of_known_machines_in_any_order),
        cmocka_unit_test(test_domains_several_ranks_per_gpu),
        cmocka_unit_test(test_domains_unknown_distance_makes_none),
        cmocka_unit_test(test_domains_of_random_machines_are_largest_first),
        cmocka_unit_test(test_combine_takes_the_farther_and_slower),
        cmocka_unit_test(test_cost_falls_outwards),
        cmocka_unit_test(test_cost_of_pcie_follows_generation_and_lanes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
