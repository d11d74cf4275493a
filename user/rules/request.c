/* SPDX-License-Identifier: MIT */
#include "rules/request.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/text.h"

#define BUCKETS	   64 /* a share's time, in parts: it is exact to a 64th of it */
#define PERCENT	   1000
#define ALL	   (100 * PERCENT)
#define STATUS_MIN 100
#define STATUS_MAX 599

struct key {
	uint64_t cookie, number;
};

struct keys {
	struct key *v; /* sorted */
	size_t n;
};

struct points { /* the last ones, as many as it takes */
	uint64_t *time_ns;
	size_t size, next, n;
};

struct bucket {
	uint64_t number; /* of the part of time that it stands for */
	uint64_t slow, all;
};

struct request_state {
	const struct request_rule *rule;
	/* Requests that were counted while they ran, at the last two passes: an answer is handed
	 * out after the pass that does not show it any more. */
	struct keys running, before;
	struct points slow, status;
	struct bucket buckets[BUCKETS];
	uint64_t answered; /* at the last pass */
	bool has_answered;
};

static int parse_time(const char *text, size_t head_size, char *head, uint64_t *ns)
{
	const char *slash = strchr(text, '/');
	int r;

	if (!slash || (size_t)(slash - text) >= head_size)
		return -EINVAL;
	memcpy(head, text, (size_t)(slash - text));
	head[slash - text] = '\0';
	r = text_parse_duration(slash + 1, ns);
	if (r < 0)
		return r;
	return *ns ? 0 : -ERANGE;
}

int request_parse_count(const char *text, uint64_t *count, uint64_t *count_ns)
{
	char head[32];
	uint64_t n, ns;
	int r = parse_time(text, sizeof(head), head, &ns);

	if (r == 0)
		r = text_parse_u64(head, &n);
	if (r < 0)
		return r;
	if (n == 0 || n > REQUEST_COUNT_MAX)
		return -ERANGE;
	*count = n;
	*count_ns = ns;
	return 0;
}

int request_parse_share(const char *text, uint64_t *share, uint64_t *share_ns)
{
	char head[32];
	uint64_t n, ns;
	size_t end;
	int r = parse_time(text, sizeof(head), head, &ns);

	if (r < 0)
		return r;
	end = strlen(head);
	if (end == 0 || head[end - 1] != '%')
		return -EINVAL;
	head[end - 1] = '\0';
	r = text_parse_u64(head, &n);
	if (r < 0)
		return r;
	if (n == 0 || n > 100)
		return -ERANGE;
	*share = n * PERCENT;
	*share_ns = ns;
	return 0;
}

int request_parse_status(const char *text, unsigned int *min, unsigned int *max)
{
	char first[8];
	const char *dash = strchr(text, '-');
	int size = (int)(dash ? dash - text : (ptrdiff_t)strlen(text)), r;
	uint64_t low = 0, high = 0;

	if (snprintf(first, sizeof(first), "%.*s", size, text) >= (int)sizeof(first))
		return -EINVAL;
	r = text_parse_u64(first, &low);
	if (r == 0)
		r = text_parse_u64(dash ? dash + 1 : first, &high);
	if (r < 0)
		return r;
	if (low < STATUS_MIN || high > STATUS_MAX || low > high)
		return -ERANGE;
	*min = (unsigned int)low;
	*max = (unsigned int)high;
	return 0;
}

static bool matches(const struct who_list *globs, const char *path)
{
	for (size_t i = 0; i < globs->n; i++)
		if (text_glob(globs->v[i], path))
			return true;
	return false;
}

bool request_rule_wants(const struct request_rule *rule, const struct request *request)
{
	bool has_path = request->path[0] != '\0';

	if (rule->paths.n && !(has_path && matches(&rule->paths, request->path)))
		return false;
	return !(has_path && matches(&rule->excludes, request->path));
}

bool request_rule_needs_every_answer(const struct request_rule *rule)
{
	return rule->share && (rule->paths.n || rule->excludes.n);
}

static int points_init(struct points *p, uint64_t count)
{
	p->size = count ? count : 1;
	p->time_ns = calloc(p->size, sizeof(*p->time_ns));
	return p->time_ns ? 0 : -ENOMEM;
}

static void cleanup_state(struct request_state **s)
{
	request_state_free(*s);
}

int request_state_new(const struct request_rule *rule, struct request_state **out)
{
	_cleanup_(cleanup_state) struct request_state *s = calloc(1, sizeof(*s));

	if (!s || points_init(&s->slow, rule->count) < 0 ||
		points_init(&s->status, rule->count) < 0)
		return -ENOMEM;
	s->rule = rule;
	*out = TAKE_PTR(s);
	return 0;
}

void request_state_free(struct request_state *s)
{
	if (!s)
		return;
	free(s->running.v);
	free(s->before.v);
	free(s->slow.time_ns);
	free(s->status.time_ns);
	free(s);
}

static void points_clear(struct points *p)
{
	p->n = 0;
}

void request_state_restart(struct request_state *s)
{
	points_clear(&s->slow);
	points_clear(&s->status);
	memset(s->buckets, 0, sizeof(s->buckets));
	s->has_answered = false;
}

/* One point more; whether there are as many as trip, of which the first is not too old. */
static bool points_add(struct points *p, uint64_t now_ns, uint64_t within_ns)
{
	uint64_t first;

	p->time_ns[p->next] = now_ns;
	p->next = (p->next + 1) % p->size;
	if (p->n < p->size)
		p->n++;
	if (p->n < p->size)
		return false;
	first = p->time_ns[p->next]; /* which is the oldest, as the ring is full */
	if (p->size > 1 && now_ns - first > within_ns)
		return false;
	points_clear(p);
	return true;
}

uint64_t request_state_points(const struct request_state *s, uint64_t now_ns)
{
	uint64_t n = 0;

	for (size_t i = 0; i < s->slow.n; i++) {
		size_t at = (s->slow.next + s->slow.size - 1 - i) % s->slow.size;

		if (now_ns - s->slow.time_ns[at] <= s->rule->count_ns)
			n++;
	}
	return n;
}

static struct bucket *current_bucket(struct request_state *s, uint64_t now_ns)
{
	uint64_t part = s->rule->share_ns / BUCKETS, number = now_ns / (part ? part : 1);
	struct bucket *b = &s->buckets[number % BUCKETS];

	if (b->number != number)
		*b = (struct bucket){.number = number};
	return b;
}

static bool share_is_reached(const struct request_state *s, uint64_t now_ns, uint64_t running)
{
	uint64_t part = s->rule->share_ns / BUCKETS, number = now_ns / (part ? part : 1);
	uint64_t slow = 0, all = running;

	for (size_t i = 0; i < BUCKETS; i++) {
		if (number - s->buckets[i].number >= BUCKETS)
			continue;
		slow += s->buckets[i].slow;
		all += s->buckets[i].all;
	}
	/* One that was counted while it ran may be answered within the time and without. */
	if (all < slow)
		all = slow;
	return all >= REQUEST_SHARE_LEAST && slow * ALL >= all * s->rule->share;
}

static int compare_keys(const void *a, const void *b)
{
	const struct key *x = a, *y = b;

	if (x->cookie != y->cookie)
		return x->cookie < y->cookie ? -1 : 1;
	return x->number < y->number ? -1 : x->number > y->number;
}

static bool has_key(const struct keys *keys, const struct request *r)
{
	const struct key key = {r->cookie, r->number};

	return keys->n && bsearch(&key, keys->v, keys->n, sizeof(key), compare_keys);
}

/* A slow request is a point, in a share of all or by itself. */
static enum request_trip count_slow(struct request_state *s, uint64_t now_ns)
{
	if (s->rule->share) {
		current_bucket(s, now_ns)->slow++;
		return REQUEST_TRIP_NONE; /* said at the end of the pass */
	}
	return points_add(&s->slow, now_ns, s->rule->count_ns) ? REQUEST_TRIP_SLOW
							       : REQUEST_TRIP_NONE;
}

static bool is_slow(const struct request_rule *rule, const struct request *r)
{
	return rule->slow_ns && r->age_ns >= rule->slow_ns && request_rule_wants(rule, r);
}

static void count_answered(struct request_state *s, uint64_t answered, uint64_t now_ns)
{
	if (!s->rule->share || request_rule_needs_every_answer(s->rule))
		return;
	if (s->has_answered && answered > s->answered)
		current_bucket(s, now_ns)->all += answered - s->answered;
	s->answered = answered;
	s->has_answered = true;
}

int request_state_pass(struct request_state *s, const struct request *requests, size_t n,
	uint64_t answered, uint64_t now_ns, enum request_trip *trip, const struct request **culprit)
{
	struct keys running = {.v = calloc(n ? n : 1, sizeof(*running.v))};

	if (!running.v)
		return -ENOMEM;
	*trip = REQUEST_TRIP_NONE;
	*culprit = NULL;
	count_answered(s, answered, now_ns);
	for (size_t i = 0; i < n; i++) {
		const struct request *r = &requests[i];

		if (!is_slow(s->rule, r))
			continue;
		running.v[running.n++] = (struct key){r->cookie, r->number};
		if (has_key(&s->running, r))
			continue;
		if (!*culprit || r->age_ns > (*culprit)->age_ns)
			*culprit = r;
		if (count_slow(s, now_ns) == REQUEST_TRIP_SLOW)
			*trip = REQUEST_TRIP_SLOW;
	}
	qsort(running.v, running.n, sizeof(*running.v), compare_keys);
	free(s->before.v);
	s->before = s->running;
	s->running = running;
	if (s->rule->share && *culprit && share_is_reached(s, now_ns, running.n)) {
		*trip = REQUEST_TRIP_SHARE;
		request_state_restart(s);
	}
	return 0;
}

enum request_trip request_state_answer(
	struct request_state *s, const struct request *answer, uint64_t now_ns)
{
	const struct request_rule *rule = s->rule;
	enum request_trip trip = REQUEST_TRIP_NONE;

	if (!request_rule_wants(rule, answer))
		return REQUEST_TRIP_NONE;
	if (request_rule_needs_every_answer(rule))
		current_bucket(s, now_ns)->all++;
	if (is_slow(rule, answer) && !has_key(&s->running, answer) && !has_key(&s->before, answer))
		trip = count_slow(s, now_ns);
	if (rule->status_max && answer->status >= rule->status_min &&
		answer->status <= rule->status_max &&
		points_add(&s->status, now_ns, rule->count_ns))
		return REQUEST_TRIP_STATUS;
	return trip;
}
