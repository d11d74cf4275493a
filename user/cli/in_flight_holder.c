/* SPDX-License-Identifier: MIT */
#include "cli/in_flight_holder.h"

#include <errno.h>
#include <stddef.h>
#include <sys/syscall.h>

#include "lib/log.h"
#include "target/process.h"

void in_flight_find_holder(
	struct requests *requests, uint64_t start_ticks, bool is_go, struct request_report *report)
{
	_cleanup_process_ struct process p = PROCESS_NONE;
	struct thread_wait *wait = &report->wait;

	report->holder = HOLDER_HANDED_OFF;
	if (process_open(report->request.pid, &p) < 0 || p.start_ticks != start_ticks)
		return;
	report->holder = request_find_holder(requests, p.procfd, &report->request, wait);
	/* Its number of a goroutine is known from the second request on only. */
	if (report->holder == HOLDER_THREAD && is_go && wait->call == __NR_futex)
		report->holder = HOLDER_HANDED_OFF;
	if (report->holder == HOLDER_THREAD &&
		wait_read_stack(p.procfd, report->request.tid, &report->stack) < 0)
		report->stack = NULL;
}

void in_flight_find_peers(struct requests *requests, uint64_t age_ns, struct request_report *report)
{
	int r = requests_outbound(
		requests, report->request.pid, age_ns, &report->peers, &report->peer_count);

	if (r < 0 && r != -ESRCH)
		log_error("event=outbound pid=%d errno=%d", report->request.pid, -r);
}

enum in_flight_claim in_flight_claim(const struct request *r)
{
	_cleanup_process_ struct process p = PROCESS_NONE;
	bool tells_its_end = r->protocol == REQUEST_HTTP && !r->pipelined;
	struct thread_wait wait;

	if (process_open(r->pid, &p) < 0 || wait_read(p.procfd, r->tid, &wait) < 0)
		return CLAIM_OF_PROCESS;
	if (wait_reads_socket(p.procfd, r->tid, &wait, r->inode))
		return CLAIM_OF_CLIENT;
	/* A reader that runs may have been woken by the rest of the request. */
	if (r->unread || (!tells_its_end && wait.runs))
		return CLAIM_UNSETTLED;
	return CLAIM_OF_PROCESS;
}
