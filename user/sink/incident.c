/* SPDX-License-Identifier: MIT */
#include "sink/incident.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/utsname.h>

#include "lib/clock.h"
#include "lib/json.h"
#include "lib/signals.h"

#include "rules/trip.h"
#include "sink/threshold.h"

json_t *incident_new(const char *kind, uint64_t realtime_ns)
{
	_cleanup_json_ json_t *o = json_object();
	struct utsname names;
	char time[40];
	json_t *host = json_object();

	if (!o || json_put_text(o, "time", clock_rfc3339(realtime_ns, time, sizeof(time))) ||
		json_put_text(o, "event", kind) || json_put(o, "host", host))
		return NULL;
	if (uname(&names) == 0 && json_put_text(host, "name", names.nodename))
		return NULL;
	return json_incref(o);
}

static json_t *command_line(const char *arguments, size_t size)
{
	json_t *list = json_array();

	for (size_t at = 0; list && at < size;) {
		size_t len = strnlen(arguments + at, size - at);
		_cleanup_json_ json_t *holder = json_object();

		if (!holder || json_put_text_n(holder, "v", arguments + at, len) ||
			json_array_append(list, json_object_get(holder, "v"))) {
			json_decref(list);
			return NULL;
		}
		at += len + 1;
	}
	return list;
}

json_t *incident_process(const struct identity *id)
{
	_cleanup_json_ json_t *o = json_object();
	/* To a tick: finer digits would be those of the two clocks' readings, and differ from event
	 * to event. */
	uint64_t boot = clock_now_ns(CLOCK_REALTIME) - clock_now_ns(CLOCK_BOOTTIME),
		 start_ns = boot + id->start_ticks * NSEC_PER_TICK;
	char start[40];
	int r = 0;

	if (!o)
		return NULL;
	r |= json_put_int(o, "pid", id->pid);
	r |= id->tid ? json_put_int(o, "tid", id->tid) : 0;
	r |= json_put_int(o, "ppid", id->ppid);
	r |= id->ns_pid && id->ns_pid != id->pid ? json_put_int(o, "namespace_pid", id->ns_pid) : 0;
	r |= json_put_text_n(o, "comm", id->comm, strnlen(id->comm, sizeof(id->comm)));
	r |= id->executable ? json_put_text(o, "executable", id->executable) : 0;
	r |= json_put(o, "command_line", command_line(id->arguments, id->arguments_size));
	r |= json_put_int(o, "uid", id->uid);
	r |= json_put_text(o, "start_time",
		clock_rfc3339((start_ns + NSEC_PER_TICK / 2) / NSEC_PER_TICK * NSEC_PER_TICK, start,
			sizeof(start)));
	r |= id->cgroup ? json_put_text(o, "cgroup", id->cgroup) : 0;
	r |= id->container_id[0] ? json_put_text(o, "container_id", id->container_id) : 0;
	return r ? NULL : json_incref(o);
}

static json_t *sender_json(const struct event_signal *s)
{
	_cleanup_json_ json_t *o = json_object();
	int r = 0;

	if (!o)
		return NULL;
	r |= json_put_int(o, "pid", s->sender_pid);
	r |= json_put_int(o, "tid", s->sender_tid);
	r |= json_put_int(o, "uid", s->sender_uid);
	r |= json_put_text(o, "comm", s->sender_comm);
	return r ? NULL : json_incref(o);
}

static int put_fault(json_t *o, const struct event_signal *s)
{
	static const char *const access[] = {
		[ACCESS_READ] = "read", [ACCESS_WRITE] = "write", [ACCESS_EXECUTE] = "execute"};
	int r = 0;

	/* A general protection fault (SI_KERNEL) has no address, unless it is the earlier fault's.
	 */
	if (s->code != 0x80 || s->earlier_fault)
		r |= json_put_hex(o, "address", s->address);
	if (s->access != ACCESS_UNKNOWN) {
		r |= json_put_text(o, "access", access[s->access]);
		r |= json_put_bool(o, "mapped", s->mapped);
	}
	r |= json_put_int(o, "trap", (int64_t)s->trap);
	r |= json_put_int(o, "error_code", (int64_t)s->error_code);
	if (s->earlier_fault)
		r |= json_put_bool(o, "stack_overflow", 1);
	return r;
}

static json_t *signal_json(const struct event_signal *s)
{
	_cleanup_json_ json_t *o = json_object();
	const char *code = signals_code_name(s->number, s->code);
	char name[24];
	int r = 0;

	if (!o)
		return NULL;
	r |= json_put_text(o, "name", signals_name(s->number, name, sizeof(name)));
	r |= json_put_int(o, "number", s->number);
	/* Where the kernel told no siginfo the code is not known; who sent it then says more. */
	if (s->dumps_core || s->code) {
		r |= code ? json_put_text(o, "code", code) : 0;
		r |= json_put_int(o, "code_number", s->code);
	}
	if (s->has_fault)
		r |= put_fault(o, s);
	if (s->has_sender)
		r |= json_put(o, "sender", sender_json(s));
	if (s->oom)
		r |= json_put_bool(o, "oom", 1);
	return r ? NULL : json_incref(o);
}

/* What the kernel side saw of the faulting instruction, until the stack is unwound. */
static json_t *place_json(const struct event_signal *s)
{
	_cleanup_json_ json_t *stack = json_array();
	_cleanup_json_ json_t *frame = json_object();
	char build_id[2 * sizeof(s->build_id) + 1];
	int r = 0;

	if (!stack || !frame)
		return NULL;
	if (!s->has_registers && !s->has_build_id)
		return json_incref(stack);
	r |= json_put_hex(frame, "address", s->ip);
	if (s->has_build_id) {
		for (size_t i = 0; i < sizeof(s->build_id); i++)
			sprintf(build_id + 2 * i, "%02x", s->build_id[i]);
		r |= json_put_text(frame, "build_id", build_id);
		r |= json_put_hex(frame, "offset", s->build_id_offset);
	}
	return r || json_array_append(stack, frame) ? NULL : json_incref(stack);
}

static int put_id(json_t *o)
{
	uint64_t random = 0;
	char id[17];

	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
		random = clock_now_ns(CLOCK_REALTIME);
	snprintf(id, sizeof(id), "%016llx", (unsigned long long)random);
	return json_put_text(o, "id", id);
}

/* A trip without its evidence. *TRIGGER is borrowed from it. RULE and KIND may be NULL. */
static json_t *new_trip(uint64_t realtime_ns, const char *rule, const char *kind, json_t **trigger)
{
	_cleanup_json_ json_t *o = incident_new("trip", realtime_ns);
	int r;

	if (!o)
		return NULL;
	*trigger = json_object();
	r = put_id(o);
	r |= rule ? json_put_text(o, "rule", rule) : 0;
	r |= json_put(o, "trigger", *trigger);
	if (r)
		return NULL;
	return kind && json_put_text(*trigger, "kind", kind) ? NULL : json_incref(o);
}

json_t *incident_trip(const struct event *e, const struct identity *identity, const char *rule)
{
	const char *kind =
		trip_kind_name(e->kind == EVENT_FIRST_CHANCE ? TRIP_FIRST_CHANCE : TRIP_SIGNAL);
	json_t *trigger;
	_cleanup_json_ json_t *o = new_trip(e->time_ns, rule, kind, &trigger);
	int r;

	if (!o)
		return NULL;
	r = json_put(trigger, "signal", signal_json(&e->signal));
	r |= json_put(o, "process", incident_process(identity));
	r |= json_put(o, "stack", place_json(&e->signal));
	return r ? NULL : json_incref(o);
}

json_t *incident_trip_threshold(const struct rule *rule, const struct breach_reading *reading,
	const struct measure *m, const struct identity *identity, uint64_t realtime_ns)
{
	json_t *trigger;
	_cleanup_json_ json_t *o = new_trip(realtime_ns, rule->name, NULL, &trigger);

	if (!o || threshold_put(trigger, rule, reading, m) ||
		json_put(o, "process", incident_process(identity)))
		return NULL;
	return json_incref(o);
}

json_t *incident_trip_request(const struct identity *identity, const char *rule,
	const struct request_report *report, uint64_t realtime_ns)
{
	json_t *trigger;
	_cleanup_json_ json_t *o = new_trip(realtime_ns, rule, NULL, &trigger);

	if (!o || request_put(trigger, report) ||
		json_put(o, "process", incident_process(identity)))
		return NULL;
	return json_incref(o);
}

json_t *incident_trip_unread(const struct identity *identity, const char *rule,
	const struct unread_report *report, uint64_t realtime_ns)
{
	json_t *trigger;
	_cleanup_json_ json_t *o = new_trip(realtime_ns, rule, NULL, &trigger);

	if (!o || unread_put(trigger, report) || json_put(o, "process", incident_process(identity)))
		return NULL;
	return json_incref(o);
}

json_t *incident_trip_stall(const struct identity *identity, const char *rule,
	const struct stall_report *report, uint64_t realtime_ns)
{
	struct identity of_thread = *identity; /* what it points to stays theirs */
	json_t *trigger;
	_cleanup_json_ json_t *o = new_trip(realtime_ns, rule, NULL, &trigger);

	of_thread.tid = report->tid;
	if (!o || stall_put(trigger, report) ||
		json_put(o, "process", incident_process(&of_thread)))
		return NULL;
	return json_incref(o);
}

json_t *incident_trip_function(const struct identity *identity, const char *rule,
	const struct function_report *report, uint64_t realtime_ns)
{
	json_t *trigger;
	_cleanup_json_ json_t *o = new_trip(realtime_ns, rule, NULL, &trigger);
	struct identity in_thread = *identity;

	in_thread.tid = report->tid;
	if (!o || function_put(trigger, report) ||
		json_put(o, "process", incident_process(&in_thread)))
		return NULL;
	return json_incref(o);
}

json_t *incident_manual(const struct identity *identity, uint64_t realtime_ns)
{
	json_t *trigger;
	_cleanup_json_ json_t *o = new_trip(realtime_ns, NULL, "manual", &trigger);

	if (!o || json_put(o, "process", incident_process(identity)))
		return NULL;
	return json_incref(o);
}

json_t *incident_follow(const json_t *base, const char *kind, uint64_t realtime_ns)
{
	json_t *o = json_deep_copy(base);
	char time[40];

	if (o &&
		(json_put_text(o, "event", kind) ||
			json_put_text(o, "time", clock_rfc3339(realtime_ns, time, sizeof(time))))) {
		json_decref(o);
		return NULL;
	}
	return o;
}

static json_t *exit_json(int code)
{
	_cleanup_json_ json_t *o = json_object();
	char name[24];
	int r;

	if (code & 0x7f)
		r = json_put_text(o, "signal", signals_name(code & 0x7f, name, sizeof(name)));
	else
		r = json_put_int(o, "code", code >> 8 & 0xff);
	return r ? NULL : json_incref(o);
}

json_t *incident_exit(const struct identity *identity, int code, uint64_t realtime_ns)
{
	_cleanup_json_ json_t *o = incident_new("exit", realtime_ns);

	if (!o || json_put(o, "exit", exit_json(code)) ||
		json_put(o, "process", incident_process(identity)))
		return NULL;
	return json_incref(o);
}

json_t *incident_trip_exit(
	const struct identity *identity, const char *rule, int code, uint64_t realtime_ns)
{
	json_t *trigger;
	_cleanup_json_ json_t *o = new_trip(realtime_ns, rule, "exit", &trigger);

	if (!o || json_put(trigger, "exit", exit_json(code)) ||
		json_put(o, "process", incident_process(identity)))
		return NULL;
	return json_incref(o);
}
