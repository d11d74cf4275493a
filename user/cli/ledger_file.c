/* SPDX-License-Identifier: MIT */
#include "cli/ledger_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "capture/runtime.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/io.h"
#include "lib/log.h"

#define NAME	    "ledger.json"
#define BOOT_ID_MAX 64

struct ledger_file {
	struct ledger *ledger;
	int runtimefd;
	char *boot_id;
	char *content; /* of what is in the file, whenever that was */
};

static void load(struct ledger_file *f)
{
	const struct clock_pair now = clock_pair_now();
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = io_read_file_at(f->runtimefd, NAME, LEDGER_TEXT_MAX, &text, &len);

	if (r == 0)
		r = ledger_load(f->ledger, text, len, &now, f->boot_id);
	if (r < 0 && r != -ENOENT)
		log_warn(
			"event=ledger error=\"%s\" consequence=\"captures of before do not count\"",
			strerror(-r));
}

int ledger_file_open(struct ledger *ledger, struct ledger_file **out)
{
	struct ledger_file *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return -ENOMEM;
	f->ledger = ledger;
	r = runtime_open(RUNTIME_DIRECTORY, 1, &f->runtimefd);
	if (r == 0)
		r = io_read_file_at(AT_FDCWD, "/proc/sys/kernel/random/boot_id", BOOT_ID_MAX,
			&f->boot_id, NULL);
	if (r < 0) {
		cleanup_close(&f->runtimefd);
		free(f);
		return r;
	}
	f->boot_id[strcspn(f->boot_id, "\n")] = '\0';
	load(f);
	*out = f;
	return 0;
}

/* Saved text also says when it was saved. */
static bool has_changed(struct ledger_file *f)
{
	const struct clock_pair never = {0};
	char *content;

	if (ledger_save(f->ledger, &never, f->boot_id, &content) < 0)
		return true;
	if (f->content && strcmp(f->content, content) == 0) {
		free(content);
		return false;
	}
	free(f->content);
	f->content = content;
	return true;
}

void ledger_file_save(struct ledger_file *f)
{
	const struct clock_pair now = clock_pair_now();
	_cleanup_free_ char *text = NULL;
	int r;

	if (!has_changed(f))
		return;
	r = ledger_save(f->ledger, &now, f->boot_id, &text);
	if (r == 0)
		r = runtime_write(f->runtimefd, NAME, text, strlen(text));
	if (r < 0)
		log_error("event=ledger error=\"%s\"", strerror(-r));
}

void ledger_file_close(struct ledger_file *f)
{
	if (!f)
		return;
	ledger_file_save(f);
	cleanup_close(&f->runtimefd);
	free(f->boot_id);
	free(f->content);
	free(f);
}
