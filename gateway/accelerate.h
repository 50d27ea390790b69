/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * accelerate.h - let connections that this host only forwards be learned
 */
#ifndef LADON_ACCELERATE_H
#define LADON_ACCELERATE_H

#include <ladon/ladon.h>

#include "config.h"

/** accelerate() - as the configuration says. Without it everything works, and costs more: it cannot fail */
void accelerate(struct ladon *ladon, const struct config_accelerate *config);

/** accelerate_is_same() - do both say the same? */
bool accelerate_is_same(const struct config_accelerate *a, const struct config_accelerate *b);

#endif
