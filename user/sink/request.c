/* SPDX-License-Identifier: MIT */
#include "sink/request.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "lib/text.h"
#include "rules/trip.h"
#include "sink/wait.h"

#define PEERS_TOLD 16  /* the others are counted */
#define TEXT_SHOWN 200 /* bytes of a path on a terminal */

/* ---- made ---- */

static int put_endpoint(json_t *o, const char *key, const struct endpoint *e)
{
	char text[ENDPOINT_TEXT];

	return json_put_text(o, key, endpoint_format(e, text, sizeof(text)));
}

static int put_known(json_t *o, const char *key, const char *text)
{
	return *text ? json_put_text(o, key, text) : 0;
}

static int put_milliseconds(json_t *o, const char *key, uint64_t ns)
{
	return json_put_int(o, key, (int64_t)(ns / NSEC_PER_MSEC));
}

static int put_head(json_t *o, const struct request *r)
{
	int e = json_put_text(o, "protocol", request_protocol_name(r->protocol));

	e |= put_known(o, "method", r->method);
	e |= put_known(o, "path", r->path);
	e |= r->path_cut ? json_put_bool(o, "path_cut", 1) : 0;
	e |= r->redacted ? json_put_bool(o, "redacted", 1) : 0;
	e |= r->pipelined ? json_put_bool(o, "pipelined", 1) : 0;
	e |= put_known(o, "traceparent", r->traceparent);
	e |= put_known(o, "request_id", r->request_id);
	e |= put_endpoint(o, "peer", &r->peer);
	e |= put_endpoint(o, "local", &r->local);
	e |= put_milliseconds(o, "age_ms", r->age_ns);
	e |= json_put_int(o, "bytes", (int64_t)(r->bytes_in + r->unread));
	e |= r->answered ? json_put_bool(o, "answered", 1) : 0;
	e |= r->status ? json_put_int(o, "status_code", r->status) : 0;
	e |= r->goroutine ? json_put_int(o, "goroutine", (int64_t)r->goroutine) : 0;
	return e;
}

static int put_holder(json_t *o, const struct request_report *report)
{
	if (report->request.answered)
		return 0;
	if (report->holder == HOLDER_THREAD)
		return json_put_int(o, "tid", report->request.tid) |
		       json_put(o, "waits_in", wait_json(&report->wait, report->stack));
	/* PostgreSQL's processes wait for an event in the midst of their work: who it was that
	 * turned away says something even so. */
	return json_put_bool(o, "handed_off", 1) | json_put_int(o, "reader", report->request.tid) |
	       (report->wait.call < 0
			       ? 0
			       : json_put(o, "waits_in", wait_json(&report->wait, report->stack)));
}

static int put_peers(json_t *o, const struct request_report *report)
{
	json_t *list;
	int r;

	if (!report->peer_count)
		return 0;
	list = json_array();
	r = json_put(o, "outbound", list);
	for (size_t i = 0; r == 0 && i < report->peer_count && i < PEERS_TOLD; i++) {
		json_t *peer = json_object();

		r = json_array_append_new(list, peer);
		r |= put_endpoint(peer, "peer", &report->peers[i].peer);
		r |= put_milliseconds(peer, "age_ms", report->peers[i].age_ns);
	}
	if (report->peer_count > PEERS_TOLD)
		r |= json_put_int(o, "outbound_count", (int64_t)report->peer_count);
	return r;
}

static int put_folded(json_t *o, uint64_t folded)
{
	return folded ? json_put_int(o, "folded", (int64_t)folded) : 0;
}

int request_put(json_t *trigger, const struct request_report *report)
{
	static const char *const why[] = {[REQUEST_TRIP_SLOW] = "slow",
		[REQUEST_TRIP_SHARE] = "share",
		[REQUEST_TRIP_STATUS] = "status"};
	json_t *o = json_object();
	int r = json_put_text(trigger, "kind", trip_kind_name(TRIP_REQUEST));

	r |= json_put(trigger, "request", o);
	if (r)
		return -ENOMEM;
	r |= json_put_text(o, "why", why[report->why]);
	r |= put_head(o, &report->request);
	r |= put_holder(o, report);
	r |= put_peers(o, report);
	r |= put_folded(o, report->folded);
	return r ? -ENOMEM : 0;
}

int unread_put(json_t *trigger, const struct unread_report *report)
{
	const struct unread *u = &report->socket;
	json_t *o = json_object();
	int r = json_put_text(trigger, "kind", trip_kind_name(TRIP_UNREAD));

	r |= json_put(trigger, "unread", o);
	if (r)
		return -ENOMEM;
	r |= json_put_text(o, "what", u->listens ? "connections" : "bytes");
	r |= json_put_int(o, "waiting", u->waiting);
	r |= u->listens ? json_put_int(o, "room", u->room) : put_endpoint(o, "peer", &u->peer);
	r |= put_endpoint(o, "local", &u->local);
	r |= put_milliseconds(o, "held_ms", report->held_ns);
	r |= put_folded(o, report->folded);
	return r ? -ENOMEM : 0;
}

/* ---- told ---- */

static void print_text(FILE *out, const json_t *o, const char *key)
{
	const char *text = json_get_text(o, key, "?");
	_cleanup_free_ char *printable = text_printable(text, strlen(text), TEXT_SHOWN);

	fputs(printable ? printable : "?", out);
}

static double seconds(const json_t *o, const char *key)
{
	return (double)json_get_int(o, key, 0) / 1000;
}

static void print_wait(FILE *out, const json_t *request)
{
	const json_t *wait = json_object_get(request, "waits_in"),
		     *peer = json_array_get(json_object_get(request, "outbound"), 0);

	if (json_object_get(request, "tid"))
		fprintf(out, ", in thread %" PRId64, json_get_int(request, "tid", 0));
	if (json_is_true(json_object_get(request, "handed_off")))
		fprintf(out, ", handed off by thread %" PRId64, json_get_int(request, "reader", 0));
	wait_print(out, wait);
	if (peer) {
		fputs(", waits for ", out);
		print_text(out, peer, "peer");
	}
}

static void print_request(FILE *out, const json_t *request)
{
	if (json_object_get(request, "method")) {
		print_text(out, request, "method");
		fputc(' ', out);
		print_text(out, request, "path");
	} else {
		fputs("a request", out);
	}
	fputs(" from ", out);
	print_text(out, request, "peer");
	if (!json_is_true(json_object_get(request, "answered")))
		fprintf(out, " waits for %.2f s", seconds(request, "age_ms"));
	else if (json_object_get(request, "status_code"))
		fprintf(out, " was answered %" PRId64 " after %.2f s",
			json_get_int(request, "status_code", 0), seconds(request, "age_ms"));
	else
		fprintf(out, " was answered after %.2f s", seconds(request, "age_ms"));
	print_wait(out, request);
}

static void print_unread(FILE *out, const json_t *unread)
{
	fprintf(out, "%" PRId64 " ", json_get_int(unread, "waiting", 0));
	print_text(out, unread, "what");
	fprintf(out, " wait unread at ");
	print_text(out, unread, "local");
	fprintf(out, " for %.1f s", seconds(unread, "held_ms"));
}

bool request_print(FILE *out, const json_t *trigger)
{
	const json_t *request = json_object_get(trigger, "request"),
		     *unread = json_object_get(trigger, "unread");

	if (request)
		print_request(out, request);
	else if (unread)
		print_unread(out, unread);
	return request || unread;
}
