// SPDX-License-Identifier: GPL-2.0-only
#include "taken.h"

#include <errno.h>
#include <stdlib.h>

/* Protocol and address, without the port */
static int host_compare(const struct taken_ports *x, bool udp, const struct addr *at)
{
	struct addr first = x->forward->listen, second = *at;

	if (x->udp != udp)
		return x->udp - udp;
	addr_set_port(&first, 0);
	addr_set_port(&second, 0);
	return addr_compare(&first, &second);
}

static int ports_compare(const void *a, const void *b)
{
	const struct taken_ports *x = a, *y = b;
	int order = host_compare(x, y->udp, &y->forward->listen);

	if (order)
		return order;
	return addr_port(&x->forward->listen) - addr_port(&y->forward->listen);
}

int taken_init(struct taken *taken, const struct config_forward *forwards, unsigned int len)
{
	taken->len = 0;
	taken->ports = calloc(2 * (size_t)len + 1, sizeof(*taken->ports));
	if (!taken->ports)
		return -ENOMEM;
	for (unsigned int i = 0; i < len; i++) {
		if (forwards[i].tcp)
			taken->ports[taken->len++] = (struct taken_ports){ &forwards[i], false };
		if (forwards[i].udp)
			taken->ports[taken->len++] = (struct taken_ports){ &forwards[i], true };
	}
	qsort(taken->ports, taken->len, sizeof(*taken->ports), ports_compare);
	return 0;
}

void taken_fini(struct taken *taken)
{
	free(taken->ports);
	*taken = (struct taken){ 0 };
}

bool taken_clash(const struct taken *taken, const struct config_forward **first,
		 const struct config_forward **second, uint16_t *port, bool *udp)
{
	for (size_t i = 1; i < taken->len; i++) {
		const struct taken_ports *a = &taken->ports[i - 1], *b = &taken->ports[i];

		if (host_compare(a, b->udp, &b->forward->listen) != 0 ||
		    addr_port(&b->forward->listen) > a->forward->last)
			continue;
		*first = a->forward < b->forward ? a->forward : b->forward;
		*second = a->forward < b->forward ? b->forward : a->forward;
		*port = addr_port(&b->forward->listen);
		*udp = b->udp;
		return true;
	}
	return false;
}

struct wanted {
	const struct addr *at;
	bool udp;
};

static int wanted_compare(const void *key, const void *element)
{
	const struct wanted *wanted = key;
	const struct taken_ports *ports = element;
	int order = -host_compare(ports, wanted->udp, wanted->at);

	if (order)
		return order;
	if (addr_port(wanted->at) < addr_port(&ports->forward->listen))
		return -1;
	return addr_port(wanted->at) > ports->forward->last;
}

const struct config_forward *taken_find(const struct taken *taken, bool udp, const struct addr *at)
{
	const struct wanted wanted = { at, udp };
	const struct taken_ports *found =
		bsearch(&wanted, taken->ports, taken->len, sizeof(*taken->ports), wanted_compare);

	return found ? found->forward : NULL;
}
