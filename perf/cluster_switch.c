/* SPDX-License-Identifier: Apache-2.0
 * tulle_cluster_switch: the switch of perf/cluster. It gives each network namespace a TAP device and passes frames
 * between them at the rate and with the delay of a real network, losing none: a port whose cable is booked ahead is not
 * read, so frames wait where the kernel made them. Segments of TCP stay together as the kernel hands them over (up to
 * 64 KiB), which is what lets one core keep up; on the cable each counts with its own headers.
 *
 *     tulle_cluster_switch RATE_MBIT DELAY_US GROUP UPLINK_MBIT HEAD NODE...
 *
 * GROUP 0 = no groups, else that many nodes in a row share an uplink each way. HEAD is a namespace whose cable takes no
 * time. Says "ready" when all devices are there; runs until SIGTERM or SIGINT. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "perf/cluster_links.h"

#define DEVICE        "tulle"
#define MOST_PORTS    254
#define MOST_BYTES    (sizeof(struct virtio_net_hdr) + 65536 + 64)
#define BOOKED_NS     1000000   /* a port is not read while its cable is busy for so long: keeps frames in the kernel */
#define IDLE_NS       100000000 /* longest sleep */
#define BURST         8         /* frames read from one port before others have their turn */
#define NS_PER_SECOND 1000000000

typedef struct cluster_port {
    int fd;
    int group; /* -1: the head, which is behind no uplink */
    perf_link_t out;
    perf_link_t in;
} cluster_port_t;

typedef struct cluster_switch {
    cluster_port_t ports[MOST_PORTS]; /* the head first, then the nodes */
    int num_ports;
    perf_link_t up[MOST_PORTS]; /* of groups */
    perf_link_t down[MOST_PORTS];
    int64_t delay_ns;
    perf_transit_t transit;
    int64_t num_lost; /* the kernel did not take them */
} cluster_switch_t;

static volatile sig_atomic_t is_stopping;

static void stop(int signal_number)
{
    (void)signal_number;
    is_stopping = 1;
}

static int64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * NS_PER_SECOND + time.tv_nsec;
}

/* A TAP device in the network namespace in which this process is. @return file, or -1 with errno */
static int open_device(void)
{
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    memcpy(request.ifr_name, DEVICE, sizeof DEVICE);
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0 &&
        (ioctl(fd, TUNSETIFF, &request) != 0 || ioctl(fd, TUNSETOFFLOAD, (long)(TUN_F_CSUM | TUN_F_TSO4)) != 0)) {
        int reason = errno;
        close(fd);
        errno = reason;
        return -1;
    }
    return fd;
}

/* The same in a namespace of ip-netns(8). */
static int open_device_in(const char *namespace)
{
    char path[256];
    int fd = -1;
    int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    snprintf(path, sizeof path, "/run/netns/%s", namespace);
    int there = open(path, O_RDONLY | O_CLOEXEC);
    if (home >= 0 && there >= 0 && setns(there, CLONE_NEWNET) == 0) {
        fd = open_device();
        if (fd < 0)
            fprintf(stderr, "tulle_cluster_switch: no TAP device in %s: %s\n", namespace, strerror(errno));
        if (setns(home, CLONE_NEWNET) != 0)
            fd = -1;
    } else {
        fprintf(stderr, "tulle_cluster_switch: network namespace %s: %s\n", namespace, strerror(errno));
    }
    close(home);
    close(there);
    return fd;
}

/* [bytes] that a frame takes on the cable: one that stands for several segments of TCP has the headers of each. */
static int64_t cable_bytes(const char *bytes, size_t length)
{
    struct virtio_net_hdr header;
    memcpy(&header, bytes, sizeof header);
    int64_t frame = (int64_t)(length - sizeof header);
    size_t tcp = sizeof header + header.csum_start;
    if (header.gso_type == VIRTIO_NET_HDR_GSO_NONE || header.gso_size == 0 || tcp + 20 > length)
        return perf_link_bytes(frame, 1);
    int64_t headers = header.csum_start + 4 * ((unsigned char)bytes[tcp + 12] >> 4);
    int64_t segments = (frame - headers + header.gso_size - 1) / header.gso_size;
    return perf_link_bytes(frame + (segments - 1) * headers, segments);
}

/* Book the way of a frame and keep it until it is due. */
static void pass(cluster_switch_t *net, int from, int to, const char *bytes, size_t length, int64_t now)
{
    cluster_port_t *source = &net->ports[from];
    cluster_port_t *target = &net->ports[to];
    perf_passage_t passage = {now, now};
    int64_t on_cable = cable_bytes(bytes, length);
    perf_frame_t *frame = malloc(sizeof *frame + length);
    if (frame == NULL) {
        net->num_lost++;
        return;
    }
    perf_link_cross(&source->out, on_cable, &passage);
    if (source->group != target->group && source->group >= 0 && target->group >= 0) {
        perf_link_cross(&net->up[source->group], on_cable, &passage);
        perf_link_cross(&net->down[target->group], on_cable, &passage);
    }
    perf_link_cross(&target->in, on_cable, &passage);
    frame->due_ns = passage.last_ns + net->delay_ns;
    frame->port = to;
    frame->length = length;
    memcpy(frame->bytes, bytes, length);
    if (perf_transit_put(&net->transit, frame) != 0) {
        free(frame);
        net->num_lost++;
    }
}

/* By hardware address: perf/cluster gives port i 02:00:00:00:00:i. Groups of receivers are all others. */
static void forward(cluster_switch_t *net, int from, const char *bytes, size_t length, int64_t now)
{
    const unsigned char *address = (const unsigned char *)bytes + sizeof(struct virtio_net_hdr);
    if (length < sizeof(struct virtio_net_hdr) + 14)
        return;
    if ((address[0] & 1) == 0) {
        if (address[5] < net->num_ports)
            pass(net, from, address[5], bytes, length, now);
        return;
    }
    for (int to = 0; to < net->num_ports; to++)
        if (to != from)
            pass(net, from, to, bytes, length, now);
}

static int is_booked(const cluster_port_t *port, int64_t now)
{
    return port->out.free_ns - now > BOOKED_NS;
}

static void receive(cluster_switch_t *net, int port)
{
    static char bytes[MOST_BYTES];
    for (int i = 0; i < BURST; i++) {
        int64_t now = now_ns();
        if (is_booked(&net->ports[port], now))
            return;
        ssize_t length = read(net->ports[port].fd, bytes, sizeof bytes);
        if (length <= 0)
            return;
        forward(net, port, bytes, (size_t)length, now);
    }
}

static void deliver_due(cluster_switch_t *net)
{
    int64_t now = now_ns();
    const perf_frame_t *first = perf_transit_first(&net->transit);
    for (; first != NULL && first->due_ns <= now; first = perf_transit_first(&net->transit)) {
        perf_frame_t *frame = perf_transit_take(&net->transit);
        if (write(net->ports[frame->port].fd, frame->bytes, frame->length) < 0)
            net->num_lost++;
        free(frame);
    }
}

/* Sleep until a frame is due, a port that may be read has one, or a booked port may be read again. */
static void serve(cluster_switch_t *net)
{
    struct pollfd polled[MOST_PORTS];
    int64_t now = now_ns();
    const perf_frame_t *first = perf_transit_first(&net->transit);
    int64_t wake = first != NULL && first->due_ns < now + IDLE_NS ? first->due_ns : now + IDLE_NS;
    for (int i = 0; i < net->num_ports; i++) {
        const cluster_port_t *port = &net->ports[i];
        int is_closed = is_booked(port, now);
        polled[i] = (struct pollfd){.fd = is_closed ? -1 : port->fd, .events = POLLIN};
        if (is_closed && port->out.free_ns - BOOKED_NS < wake)
            wake = port->out.free_ns - BOOKED_NS;
    }
    int64_t left = wake > now ? wake - now : 0;
    struct timespec timeout = {left / NS_PER_SECOND, left % NS_PER_SECOND};
    if (ppoll(polled, (nfds_t)net->num_ports, &timeout, NULL) <= 0)
        return;
    for (int i = 0; i < net->num_ports; i++)
        if (polled[i].revents & POLLIN)
            receive(net, i);
}

static void set_links(cluster_switch_t *net, double rate_mbit, int group, double uplink_mbit)
{
    for (int i = 0; i < net->num_ports; i++) {
        cluster_port_t *port = &net->ports[i];
        port->group = i == 0 ? -1 : group > 0 ? (i - 1) / group : 0;
        port->out.ns_per_byte = port->in.ns_per_byte = i == 0 ? 0 : 8e3 / rate_mbit;
        net->up[i].ns_per_byte = net->down[i].ns_per_byte = group > 0 ? 8e3 / uplink_mbit : 0;
    }
}

/* Emulated time is real time: whoever computes on all cores must not hold the network up. Best effort. */
static void take_precedence(void)
{
    struct sched_param parameters = {.sched_priority = 10};
    prctl(PR_SET_TIMERSLACK, 1);
    if (sched_setscheduler(0, SCHED_FIFO, &parameters) != 0 && setpriority(PRIO_PROCESS, 0, -20) != 0)
        fprintf(stderr, "tulle_cluster_switch: no precedence over other processes: rates may not be held\n");
}

static int run(cluster_switch_t *net, char **namespaces)
{
    struct sigaction action = {.sa_handler = stop};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    for (int i = 0; i < net->num_ports; i++) {
        net->ports[i].fd = open_device_in(namespaces[i]);
        if (net->ports[i].fd < 0)
            return EXIT_FAILURE;
    }
    take_precedence();
    printf("ready\n");
    fflush(stdout);
    while (!is_stopping) {
        deliver_due(net);
        serve(net);
    }
    printf("%lld frames lost\n", (long long)net->num_lost);
    perf_transit_release(&net->transit);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    static cluster_switch_t net;
    double rate_mbit = argc > 6 ? strtod(argv[1], NULL) : 0;
    double delay_us = argc > 6 ? strtod(argv[2], NULL) : -1;
    int group = argc > 6 ? (int)strtol(argv[3], NULL, 10) : 0;
    double uplink_mbit = argc > 6 ? strtod(argv[4], NULL) : 0;
    net.num_ports = argc - 5;
    if (!(rate_mbit > 0) || !(delay_us >= 0) || group < 0 || (group > 0 && !(uplink_mbit > 0)) ||
        net.num_ports > MOST_PORTS) {
        fprintf(stderr, "usage: tulle_cluster_switch RATE_MBIT DELAY_US GROUP UPLINK_MBIT HEAD NODE...\n");
        return 2;
    }
    net.delay_ns = (int64_t)(1e3 * delay_us);
    set_links(&net, rate_mbit, group, uplink_mbit);
    return run(&net, argv + 5);
}
