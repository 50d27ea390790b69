/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * place.h - where a backend is, as text: an address or a name, and a port
 */
#ifndef LADON_PLACE_H
#define LADON_PLACE_H

#include "../gateway/config.h"

#define PLACE_WHY_MAX 384

/** name_fault() - what a host name is to look like; NULL: @name does */
const char *name_fault(const char *name);

/** label_fault() - the same of what stands between two dots */
const char *label_fault(const char *label, size_t len);

/** name_is_numeric() - a name would be taken for an IPv4 address */
bool name_is_numeric(const char *name);

/** text_lower() - in place; NULL is fine */
void text_lower(char *text);

/**
 * place_parse() - "10.0.2.2:443", "[2001:db8::1]:443" or "www.example.org:443"
 * @backend: .text, .host, .port and .addr are set, the texts also when it fails
 * @why: what is wrong; what would be right
 *
 * Return: 0, -EINVAL or -ENOMEM.
 */
int place_parse(const char *text, struct config_backend *backend, char why[PLACE_WHY_MAX]);

/** place_refuse() - of a text that is no address with a port: what was forgotten, or else @other */
void place_refuse(const char *text, const char *other, char why[PLACE_WHY_MAX]);

#endif
