/* SPDX-License-Identifier: MIT */
#include "cli/losses.h"

#include <errno.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/json.h"
#include "lib/log.h"
#include "sink/incident.h"
#include "sink/relay.h"

static void say(const struct feed *f, const char *reason, uint64_t count, const char *detail)
{
	json_t *event = incident_new("loss", clock_now_ns(CLOCK_REALTIME));

	if (event) {
		json_put_text(event, "reason", reason);
		json_put_int(event, "count", (int64_t)count);
		if (detail)
			json_put_text(event, "detail", detail);
	}
	feed_say(f, event);
}

bool losses_say(const struct feed *f, struct probe *p, struct targets *t)
{
	struct probe_loss losses[PROBE_LOSSES_MAX];
	int n = probe_losses(p, losses);
	uint64_t unread = relay_lost(f->relay);

	for (int i = 0; i < n; i++)
		say(f, losses[i].reason, losses[i].count, NULL);
	if (t->unjudged)
		say(f, "unjudged", t->unjudged, NULL);
	t->unjudged = 0;
	if (unread)
		say(f, "feed-full", unread, NULL);
	if (relay_lost(f->relay) == unread) /* there was room for it */
		relay_told(f->relay);
	return n > 0;
}

void losses_say_requests(const struct feed *f, struct in_flight *in_flight)
{
	struct probe_loss losses[PROBE_LOSSES_MAX];
	int n = in_flight_losses(in_flight, losses);

	for (int i = 0; i < n; i++)
		say(f, losses[i].reason, losses[i].count, "of requests");
}

void losses_say_functions(const struct feed *f, struct inside *inside)
{
	struct probe_loss losses[PROBE_LOSSES_MAX];
	int n = inside_losses(inside, losses);

	for (int i = 0; i < n; i++)
		say(f, losses[i].reason, losses[i].count, "of functions");
}

void losses_say_pattern(const struct feed *f, struct registry *r)
{
	int e = registry_check(r);

	if (e == 1 || e == -EBUSY) /* of crashes lost meanwhile nothing is known */
		say(f, e == 1 ? "core-pattern-rewritten" : "core-pattern-taken", 0,
			registry_rewritten(r));
	else if (e < 0)
		log_error("event=check what=core_pattern error=\"%s\"", strerror(-e));
}
