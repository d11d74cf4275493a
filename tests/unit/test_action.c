/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "rules/action.h"

static struct action parsed(const char *text)
{
	char why[ACTION_WHY_MAX] = "";
	struct action a = {};
	int r = action_parse(text, &a, why);

	cr_assert_eq(r, 0, "%s: %s", text, why);
	cr_assert_str_eq(a.text, text);
	return a;
}

Test(action, each_kind)
{
	struct action a = parsed("kill");

	cr_assert_eq(a.kind, ACTION_KILL);
	action_free(&a);
	a = parsed("term:1.5s");
	cr_assert_eq(a.kind, ACTION_TERM);
	cr_assert_eq(a.time_ns, 1500 * NSEC_PER_MSEC);
	action_free(&a);
	a = parsed("signal:usr1");
	cr_assert_eq(a.kind, ACTION_SIGNAL);
	cr_assert_eq(a.signal, SIGUSR1);
	action_free(&a);
	a = parsed("signal:RTMIN+1");
	cr_assert_eq(a.signal, 35);
	action_free(&a);
	a = parsed("restart:app@tcp-1.socket");
	cr_assert_eq(a.kind, ACTION_RESTART);
	cr_assert_str_eq(a.unit, "app@tcp-1.socket");
	action_free(&a);
	a = parsed("restart:nginx");
	cr_assert_str_eq(a.unit, "nginx.service");
	action_free(&a);
	a = parsed("restart:org.example.web");
	cr_assert_str_eq(a.unit, "org.example.web.service", "not every dot begins a type");
	action_free(&a);
}

Test(action, commands_are_split_without_a_shell)
{
	static const struct {
		const char *text, *argv[6];
	} cases[] = {
		{"/bin/true", {"/bin/true"}},
		{"  /bin/a  b\tc\n", {"/bin/a", "b", "c"}},
		{"/bin/a 'b c' \"d e\"", {"/bin/a", "b c", "d e"}},
		{"/bin/a '' \"\"", {"/bin/a", "", ""}},
		{"/bin/a x'y z'w", {"/bin/a", "xy zw"}},
		{"/bin/a 'it'\\''s' \"say \\\"hi\\\\\"", {"/bin/a", "it's", "say \"hi\\"}},
		{"/bin/a '\\n' \"\\n\" \\n b\\ c", {"/bin/a", "\\n", "\\n", "n", "b c"}},
		{"/bin/a $HOME *; `x` | y>z", {"/bin/a", "$HOME", "*;", "`x`", "|", "y>z"}},
		{"'/bin/with blank'", {"/bin/with blank"}},
		{"/bin/a a:b exec:c", {"/bin/a", "a:b", "exec:c"}},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *text = NULL;
		struct action a;
		size_t n = 0;

		cr_assert_gt(asprintf(&text, "exec:%s", cases[i].text), 0);
		a = parsed(text);
		cr_assert_eq(a.kind, ACTION_EXEC);
		for (; n < ARRAY_SIZE(cases[i].argv) && cases[i].argv[n]; n++)
			cr_assert_str_eq(a.argv[n] ? a.argv[n] : "(none)", cases[i].argv[n]);
		cr_assert_null(a.argv[n], "%s", text);
		action_free(&a);
	}
}

Test(action, nonsense_is_refused_by_name)
{
	static const struct {
		const char *text, *says;
	} cases[] = {
		{"", "is not an action"},
		{"reboot", "'reboot' is not an action"},
		{"Kill", "is not an action"},
		{"kill:", "is too much"},
		{"kill:9", "'kill:9' is too much"},
		{"term", "needs a time"},
		{"term:", "needs a time"},
		{"term:soon", "'soon' is not a time"},
		{"term:-1s", "is not a time"},
		{"term:0", "use kill"},
		{"term:99999999999999999999", "is not a time"},
		{"signal", "needs a signal"},
		{"signal:NOPE", "'NOPE' is not a signal"},
		{"signal:0", "is not a signal"},
		{"signal:65", "is not a signal"},
		{"restart:", "needs a systemd unit"},
		{"restart:-H evil", "is not the name of a systemd unit"},
		{"restart:--now", "is not the name of a systemd unit"},
		{"restart:*.service", "is not the name of a systemd unit"},
		{"restart:a/b.service", "is not the name of a systemd unit"},
		{"restart:a b", "is not the name of a systemd unit"},
		{"restart:caf\xc3\xa9", "is not the name of a systemd unit"},
		{"restart:.service", "is not the name of a systemd unit"},
		{"restart:session-1.scope", "cannot be restarted"},
		{"exec", "needs a command"},
		{"exec:", "needs a command"},
		{"exec:  ", "is no command"},
		{"exec:''", "is not an absolute path"},
		{"exec:notify", "'notify' is not an absolute path"},
		{"exec:./notify", "is not an absolute path"},
		{"exec:/bin/a 'b", "without its end"},
		{"exec:/bin/a \"b\\\"", "without its end"},
		{"exec:/bin/a b\\", "without its end"},
		{"k\033[31mill", "\\x1b[31m"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct action a = {.signal = 77};
		char why[ACTION_WHY_MAX] = "";

		cr_assert_eq(action_parse(cases[i].text, &a, why), -EINVAL, "%s", cases[i].text);
		cr_assert_not_null(strstr(why, cases[i].says), "%s: %s", cases[i].text, why);
		cr_assert_eq(a.signal, 77, "untouched");
		cr_assert_null(strchr(why, '\n'));
	}
}

Test(action, long_text_is_cut_in_the_message_alone)
{
	char text[400] = "restart:", why[ACTION_WHY_MAX];
	struct action a;

	memset(text + 8, 'x', 255 - 8);
	text[8 + 247] = '\0';
	a = parsed(text);
	cr_assert_eq(strlen(a.unit), 255);
	action_free(&a);
	memset(text + 8, 'x', 256 - 8);
	text[8 + 248] = '\0';
	cr_assert_eq(action_parse(text, &a, why), -EINVAL);
	cr_assert_not_null(strstr(why, "longer"), "%s", why);
	cr_assert_lt(strlen(why), ACTION_WHY_MAX - 1, "not cut: %s", why);
}

Test(action, lists_keep_their_order)
{
	_cleanup_actions_ struct actions list = {};
	char why[ACTION_WHY_MAX];

	cr_assert_eq(actions_add(&list, "signal:USR1", why), 0);
	cr_assert_eq(actions_add(&list, "nothing", why), -EINVAL);
	cr_assert_eq(actions_add(&list, "exec:/bin/true a", why), 0);
	cr_assert_eq(list.n, 2);
	cr_assert_eq(list.v[0].kind, ACTION_SIGNAL);
	cr_assert_eq(list.v[1].kind, ACTION_EXEC);
	cr_assert_str_eq(action_kind_name(list.v[1].kind), "exec");
}
