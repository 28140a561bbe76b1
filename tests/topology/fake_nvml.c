/* SPDX-License-Identifier: Apache-2.0
 * A stand-in for the driver's libnvidia-ml.so.1, for a machine of four GPUs in two sockets: 1b and 3d with two NVLinks
 * straight to each other and one to a processor, 9b and bd with three each to a switch; the fourth is off. It refuses
 * what the real one refuses: calls before nvmlInit, links and devices that are not there. FAKE_NVML=broken: it does not
 * start. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define API __attribute__((visibility("default")))

enum { SUCCESS = 0, ERROR_UNINITIALIZED = 1, ERROR_INVALID_ARGUMENT = 2, ERROR_NOT_FOUND = 6, ERROR_DRIVER = 9 };
enum { NUM_GPUS = 4, NUM_LINKS = 4, OFF = 0, PROCESSOR_BUS = 0x55, SWITCH_BUS = 0x87 };
enum { P2P_WRITE = 1, P2P_NVLINK = 2, P2P_NOT_SUPPORTED = 5 };

typedef struct device {
    unsigned bus;
    unsigned remote_bus[NUM_LINKS];
} device_t;

typedef struct pci_info {
    char legacy_bus_id[16];
    unsigned domain, bus, device, device_id, subsystem_id;
    char bus_id[32];
} pci_info_t;

static device_t gpus[NUM_GPUS] = {{0x1b, {PROCESSOR_BUS, 0x3d, 0x3d, OFF}},
                                  {0x3d, {0x1b, 0x1b, PROCESSOR_BUS, OFF}},
                                  {0x9b, {SWITCH_BUS, SWITCH_BUS, SWITCH_BUS, OFF}},
                                  {0xbd, {SWITCH_BUS, SWITCH_BUS, SWITCH_BUS, OFF}}};
static int num_users;

API int nvmlInit_v2(void);
API int nvmlShutdown(void);
API int nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, device_t **device_out);
API int nvmlDeviceGetTopologyCommonAncestor(const device_t *a, const device_t *b, unsigned *level_out);
API int nvmlDeviceGetP2PStatus(const device_t *a, const device_t *b, unsigned kind, unsigned *status_out);
API int nvmlDeviceGetNvLinkState(const device_t *device, unsigned link, unsigned *is_active_out);
API int nvmlDeviceGetNvLinkRemotePciInfo_v2(const device_t *device, unsigned link, pci_info_t *info_out);
API int nvmlDeviceGetMaxPcieLinkGeneration(const device_t *device, unsigned *generation_out);
API int nvmlDeviceGetMaxPcieLinkWidth(const device_t *device, unsigned *lanes_out);

int nvmlInit_v2(void)
{
    const char *kind = getenv("FAKE_NVML");
    if (kind != NULL && strcmp(kind, "broken") == 0)
        return ERROR_DRIVER;
    num_users++;
    return SUCCESS;
}

int nvmlShutdown(void)
{
    return num_users-- > 0 ? SUCCESS : ERROR_UNINITIALIZED;
}

static int check(const device_t *device)
{
    if (num_users <= 0)
        return ERROR_UNINITIALIZED;
    return device >= gpus && device < gpus + NUM_GPUS ? SUCCESS : ERROR_INVALID_ARGUMENT;
}

/* The real one takes addresses with four and with eight digits of domain. */
int nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, device_t **device_out)
{
    unsigned domain = 0;
    unsigned bus = 0;
    unsigned device = 0;
    unsigned function = 0;
    if (num_users <= 0)
        return ERROR_UNINITIALIZED;
    if (sscanf(bus_id, "%x:%x:%x.%x", &domain, &bus, &device, &function) != 4)
        return ERROR_INVALID_ARGUMENT;
    for (int i = 0; i < NUM_GPUS; i++)
        if (domain == 0 && bus == gpus[i].bus && device == 0 && function == 0) {
            *device_out = &gpus[i];
            return SUCCESS;
        }
    return ERROR_NOT_FOUND;
}

static int socket_of(const device_t *device)
{
    return device->bus >= 0x80;
}

int nvmlDeviceGetTopologyCommonAncestor(const device_t *a, const device_t *b, unsigned *level_out)
{
    enum { SINGLE_SWITCH = 10, SYSTEM = 50 };
    int code = check(a) != SUCCESS ? check(a) : check(b);
    if (code == SUCCESS)
        *level_out = socket_of(a) == socket_of(b) ? SINGLE_SWITCH : SYSTEM;
    return code;
}

int nvmlDeviceGetP2PStatus(const device_t *a, const device_t *b, unsigned kind, unsigned *status_out)
{
    int code = check(a) != SUCCESS ? check(a) : check(b);
    int is_linked = socket_of(a) == socket_of(b);
    if (code == SUCCESS)
        *status_out = kind <= P2P_WRITE || (kind == P2P_NVLINK && is_linked) ? SUCCESS : P2P_NOT_SUPPORTED;
    return code;
}

static int check_link(const device_t *device, unsigned link)
{
    int code = check(device);
    return code == SUCCESS && link >= NUM_LINKS ? ERROR_INVALID_ARGUMENT : code;
}

int nvmlDeviceGetNvLinkState(const device_t *device, unsigned link, unsigned *is_active_out)
{
    int code = check_link(device, link);
    if (code == SUCCESS)
        *is_active_out = device->remote_bus[link] != OFF;
    return code;
}

int nvmlDeviceGetNvLinkRemotePciInfo_v2(const device_t *device, unsigned link, pci_info_t *info_out)
{
    int code = check_link(device, link);
    if (code == SUCCESS) {
        memset(info_out, 0, sizeof *info_out);
        info_out->bus = device->remote_bus[link];
        snprintf(info_out->bus_id, sizeof info_out->bus_id, "%08x:%02x:%02x.0", 0, info_out->bus, 0);
    }
    return code;
}

int nvmlDeviceGetMaxPcieLinkGeneration(const device_t *device, unsigned *generation_out)
{
    *generation_out = 4;
    return check(device);
}

int nvmlDeviceGetMaxPcieLinkWidth(const device_t *device, unsigned *lanes_out)
{
    *lanes_out = 16;
    return check(device);
}
