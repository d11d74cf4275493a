/* SPDX-License-Identifier: MIT */
/* Records of requests, the conditions on them, and what /proc says of a thread. */
#include <abi.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "probe/request_decode.h"
#include "rules/request.h"
#include "target/go.h"
#include "target/wait.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void parse_texts(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	unsigned int low, high;
	uint64_t n, ns;
	struct thread_wait wait;

	if (!text)
		return;
	memcpy(text, data, size);
	text[size] = '\0';
	wait_parse(text, &wait);
	request_parse_count(text, &n, &ns);
	request_parse_share(text, &n, &ns);
	request_parse_status(text, &low, &high);
	free(text);
}

static void judge(const struct request *r)
{
	char *globs[] = {"/a*"};
	const struct request_rule rule = {.slow_ns = 1,
		.paths = {globs, 1},
		.share = 1000,
		.share_ns = 1000,
		.status_max = 599};
	struct request_state *s = NULL;
	enum request_trip trip;
	const struct request *culprit;
	char text[ENDPOINT_TEXT];

	endpoint_format(&r->peer, text, sizeof(text));
	if (request_state_new(&rule, &s) < 0)
		return;
	request_state_pass(s, r, 1, r->bytes_in, r->age_ns, &trip, &culprit);
	request_state_answer(s, r, r->age_ns + 1);
	request_state_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ct_request record = {0};
	struct request r;
	unsigned int minor;

	parse_texts(data, size);
	go_find_minor(data, size, &minor);
	memcpy(&record, data, size < sizeof(record) ? size : sizeof(record));
	if (request_decode(data, size, &r) == 0)
		judge(&r);
	record.header.kind = record.header.kind % 2 ? CT_REQUEST : CT_CONNECTION;
	record.header.size = sizeof(record);
	record.protocol %= CT_PROTOCOL_TLS + 1;
	if (request_decode(&record, sizeof(record), &r) == 0)
		judge(&r);
	return 0;
}
