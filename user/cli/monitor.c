/* SPDX-License-Identifier: MIT */
#include "cli/monitor.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/losses.h"
#include "cli/watching.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/log.h"

#define TICK_NS \
	(100 * NSEC_PER_MSEC) /* losses, the pattern's owner, time limits of what is pending */
#define CHECK_NS (1 * NSEC_PER_SEC)
#define LINGER_NS                                                                                \
	(10 * NSEC_PER_SEC) /* for captures under way when told to end, and those that wait past \
			       --duration; a second signal ends at once */

struct monitor {
	struct watching watching;
	uint64_t end_ns, next_check_ns; /* CLOCK_MONOTONIC; 0: none */
	int interrupts;
	bool reloads;
};

static void read_signals(struct monitor *m)
{
	const struct monitor_options *o = m->watching.options;
	struct signalfd_siginfo info;

	while (read(m->watching.signalfd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			launch_reap(&m->watching.launch);
		else if (info.ssi_signo == SIGHUP && o->reload)
			m->reloads |= o->reload(o->reload_arg) == 0;
		else
			m->interrupts++;
	}
}

static bool all_spent(const struct watching *w)
{
	struct clock_pair now = clock_pair_now();

	for (size_t i = 0; i < w->rules.n; i++)
		if (!rule_is_spent(&w->rules.v[i], w->ledger, &now))
			return false;
	return true;
}

/* It is to end once what has tripped has come to its last event. */
static bool is_ending(const struct monitor *m, uint64_t now)
{
	return m->interrupts || m->reloads || (m->end_ns && now >= m->end_ns);
}

/* What has tripped by now comes to its last event; what trips from now on only says that it came
 * too late, or a storm of crashes would go on for ever. */
static void close_down(struct monitor *m, uint64_t now)
{
	static const char reason[] = "duration-passed";
	struct watching *w = &m->watching;

	if (m->interrupts || m->reloads) {
		lives_drop_waiting(w->lives, "interrupted");
	} else if (m->end_ns && now >= m->end_ns) {
		deaths_close(w->deaths, reason);
		exits_close(w->exits, reason);
		if (now >= m->end_ns + LINGER_NS)
			lives_drop_waiting(w->lives, reason);
	}
}

static bool is_over(struct monitor *m, uint64_t now)
{
	const struct watching *w = &m->watching;
	size_t pending = deaths_pending(w->deaths) + lives_pending(w->lives) +
			 exits_pending(w->exits) + followups_pending(w->followups);

	if ((m->interrupts || m->reloads) && (!m->end_ns || m->end_ns > now + LINGER_NS))
		m->end_ns = now + LINGER_NS;
	if (m->interrupts || m->reloads)
		return m->interrupts > 1 || pending == 0 || now >= m->end_ns;
	if (pending)
		return false;
	if (w->options->forever)
		return m->end_ns && now >= m->end_ns;
	return all_spent(w) || (m->end_ns && now >= m->end_ns) ||
	       (rule_set_is_pids_only(&w->rules) && w->targets.n == 0);
}

/* Whatever still is to be read, which a storm has no end of, came past the end. */
static bool is_late(const struct monitor *m, uint64_t now)
{
	return m->end_ns && now >= m->end_ns + CHECK_NS;
}

static void loop(struct monitor *m)
{
	struct watching *w = &m->watching;
	bool more = false;

	for (;;) {
		struct epoll_event ready[8];
		int timeout = more ? 0 : (int)(TICK_NS / NSEC_PER_MSEC);
		uint64_t now;

		if (epoll_wait(w->epollfd, ready, ARRAY_SIZE(ready), timeout) < 0 &&
			errno != EINTR) {
			log_error("event=loop errno=%d", errno);
			return;
		}
		read_signals(m);
		more = watching_read_events(w);
		watching_read_handlers(w);
		now = clock_now_ns(CLOCK_MONOTONIC);
		w->closing = is_ending(m, now);
		watching_sample(w); /* ahead of the end of captures, which may end the watch */
		deaths_progress(w->deaths, now);
		lives_progress(w->lives);
		exits_progress(w->exits);
		followups_progress(w->followups);
		watching_serve(w);
		watching_functions(w);
		watching_loops(w);
		close_down(m, now);
		if (now >= m->next_check_ns) {
			m->next_check_ns = now + CHECK_NS;
			watching_check(w);
		}
		if (is_over(m, now) && (!more || is_late(m, now)))
			return;
	}
}

/* As many were captured as asked by the one rule there is: those that failed do not matter. */
static bool is_content(const struct watching *w, uint64_t captured)
{
	return w->rules.n == 1 && w->rules.v[0].count && captured >= w->rules.v[0].count;
}

static int status(const struct watching *w)
{
	struct trip_counts counts = watching_counts(w);

	if (counts.failed && !is_content(w, counts.captured))
		return EXIT_FAILED;
	if (counts.captured || (counts.tripped && !watching_captures(w)))
		return EXIT_CAPTURED;
	if (rule_set_is_pids_only(&w->rules) && w->targets.n == 0)
		return EXIT_TARGET_GONE;
	return counts.tripped ? EXIT_CAPTURED : EXIT_NO_TRIP;
}

int monitor_run(const struct monitor_options *options)
{
	struct monitor m = {.watching = WATCHING_NONE};
	struct watching *w = &m.watching;
	int result = options->reload ? MONITOR_UNARMED : EXIT_FAILED;
	int armed = watching_arm(w, options);

	if (armed == -EBADMSG && !options->reload)
		result = EXIT_USAGE;
	if (armed == 0) {
		uint64_t now = clock_now_ns(CLOCK_MONOTONIC);

		m.end_ns = options->duration_ns ? now + options->duration_ns : 0;
		m.next_check_ns = now + CHECK_NS;
		loop(&m);
		deaths_finish(w->deaths);
		lives_finish(w->lives);
		losses_say(&w->feed, w->probe, &w->targets);
		if (w->in_flight)
			losses_say_requests(&w->feed, w->in_flight);
		if (w->inside)
			losses_say_functions(&w->feed, w->inside);
		result = m.reloads && !m.interrupts ? MONITOR_RELOAD : status(w);
	}
	watching_disarm(w);
	return result;
}
