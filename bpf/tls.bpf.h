/* SPDX-License-Identifier: GPL-2.0-only */
/* TLS records, seen from outside: which of them ask for no answer. */
#ifndef CORETRAP_TLS_BPF_H
#define CORETRAP_TLS_BPF_H

#include "common.bpf.h"

#define RECORD_CHANGE_CIPHER 20
#define RECORD_ALERT	     21
#define RECORD_DATA	     23
#define RECORD_HEADER	     5
#define RECORD_MOST	     (16384 + 2048) /* of a record's length (RFC 5246, 6.2.3) */

/* Data records that are shorter hold an alert (19), or HTTP/2's window updates, pings and
 * acknowledgements (26 to 34), but no request of HTTP. */
#define RECORD_REQUEST 40

/* The client's last words in a handshake of TLS 1.3: a hash of 32 or 48 bytes, and 21 around it. */
#define RECORD_FINISHED_SHA256 53
#define RECORD_FINISHED_SHA384 69

static __always_inline __u32 record_size(const __u8 *header)
{
	return (__u32)header[3] << 8 | header[4];
}

/* A record's header: its type, version 3.x, a length. What is read may as well be the middle of a
 * record, which is as good as random, so all of it counts. */
static __always_inline bool is_tls(const __u8 *header)
{
	return header[0] >= RECORD_CHANGE_CIPHER && header[0] <= RECORD_DATA && header[1] == 3 &&
	       header[2] <= 4 && record_size(header) <= RECORD_MOST;
}

static __always_inline bool asks_nothing(const __u8 *header, __u64 exchanges)
{
	__u32 size = record_size(header);

	if (!is_tls(header))
		return false;
	if (header[0] == RECORD_CHANGE_CIPHER || header[0] == RECORD_ALERT)
		return true;
	if (header[0] != RECORD_DATA)
		return false;
	return size < RECORD_REQUEST || (exchanges == 1 && (size == RECORD_FINISHED_SHA256 ||
								   size == RECORD_FINISHED_SHA384));
}

/* Whether all that was read, of which BYTES are the beginning and SIZE the length, asks for no
 * answer. *SKIP is how much of the last record is still to be read: some servers read its header
 * first. */
static __always_inline bool is_tls_silence(
	const __u8 bytes[16], __u32 size, __u64 exchanges, __u32 *skip)
{
	__u32 end = RECORD_HEADER + record_size(bytes);
	const __u8 *second = bytes + RECORD_HEADER + 1;

	if (size < RECORD_HEADER || !asks_nothing(bytes, exchanges))
		return false;
	if (size <= end) {
		*skip = end - size;
		return true;
	}
	/* A change of ciphers, one byte long, goes before the client's last words. */
	if (bytes[0] != RECORD_CHANGE_CIPHER || end != RECORD_HEADER + 1 ||
		size < end + RECORD_HEADER || !asks_nothing(second, exchanges))
		return false;
	end += RECORD_HEADER + record_size(second);
	if (size > end)
		return false;
	*skip = end - size;
	return true;
}

#endif
