/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * options.h - TCP's options as they stand in a segment
 *
 * RFC 9293 section 3.2, RFC 2018 sections 2 and 3, RFC 7323 sections 2.2 and 3.2
 */
#ifndef LADON_OPTIONS_H
#define LADON_OPTIONS_H

enum {
	OPTION_END = 0,
	OPTION_NOP = 1,
	OPTION_MSS = 2,
	OPTION_WINDOW = 3,
	OPTION_SACK_PERMITTED = 4,
	OPTION_SACK = 5,
	OPTION_TS = 8,

	OPTION_MSS_BYTES = 4,
	OPTION_TS_BYTES = 10,
	OPTION_SACK_BYTES = 2, /* and 8 for each block */
	OPTIONS_BYTES_MAX = 40,
};

/* How they are written by all who want them at even offsets, as RFC 7323's appendix A says */
#define OPTION_NOP_NOP_TS   0x0101080a
#define OPTION_NOP_NOP_SACK 0x01010500 /* the last byte is the length */

#endif
