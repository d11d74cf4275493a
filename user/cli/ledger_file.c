/* SPDX-License-Identifier: MIT */
#include "cli/ledger_file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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
	int error;     /* of the last attempt to write it, which was told */
};

static const char *complaint(int error)
{
	switch (error) {
	case -EINVAL:
		return "is not a regular file";
	case -E2BIG:
		return "is larger than 8 MiB";
	case -EBADMSG:
		return "is not a ledger";
	default:
		return strerror(-error);
	}
}
static_assert(LEDGER_TEXT_MAX == 8 << 20, "as the complaint has it");

static int read_text(const struct ledger_file *f, char **text, size_t *len)
{
	struct stat st;

	if (fstatat(f->runtimefd, NAME, &st, 0) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode)) /* of a FIFO, whose reader may wait for ever, nobody reads */
		return -EINVAL;
	return io_read_file_at(f->runtimefd, NAME, LEDGER_TEXT_MAX, text, len);
}

static void load(struct ledger_file *f)
{
	const struct clock_pair now = clock_pair_now();
	_cleanup_free_ char *text = NULL;
	size_t len = 0;
	int r = read_text(f, &text, &len);

	if (r == 0)
		r = ledger_load(f->ledger, text, len, &now, f->boot_id);
	if (r < 0 && r != -ENOENT)
		log_warn("event=ledger file=" RUNTIME_DIRECTORY "/" NAME " error=\"%s\" "
			 "consequence=\"captures of before do not count\"",
			complaint(r));
}

int ledger_file_open(struct ledger *ledger, struct ledger_file **out)
{
	struct ledger_file *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return -ENOMEM;
	*f = (struct ledger_file){.ledger = ledger, .runtimefd = -1};
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

static int write_text(const struct ledger_file *f)
{
	const struct clock_pair now = clock_pair_now();
	_cleanup_free_ char *text = NULL;
	int r = ledger_save(f->ledger, &now, f->boot_id, &text);

	return r < 0 ? r : runtime_write(f->runtimefd, NAME, text, strlen(text));
}

void ledger_file_save(struct ledger_file *f)
{
	const struct clock_pair never = {0}; /* saved text also says when it was saved */
	_cleanup_free_ char *content = NULL;
	int r = ledger_save(f->ledger, &never, f->boot_id, &content);

	if (r == 0 && f->content && strcmp(f->content, content) == 0)
		return;
	if (r == 0)
		r = write_text(f);
	/* What failed is tried again each second, and told once. */
	if (r < 0 && r != f->error)
		log_error("event=ledger file=" RUNTIME_DIRECTORY "/" NAME " error=\"%s\" "
			  "consequence=\"a restart forgets what was captured\"",
			strerror(-r));
	f->error = r;
	if (r < 0)
		return;
	free(f->content);
	f->content = TAKE_PTR(content);
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
