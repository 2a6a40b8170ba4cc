// SPDX-License-Identifier: Apache-2.0
/*
 * semantos-advisor.c - options, and everything given up that is not needed, before the first byte of the agent is read.
 */
#include <cap-ng.h>
#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "agent/advisor/advisor.h"
#include "agent/util/log.h"

#define OWN_USER "semantos-advisor"

static volatile int stop;

static void on_signal(int number)
{
	(void)number;
	stop = 1;
}

static void help(FILE *out)
{
	fputs("usage: semantos-advisor [options]\n\n"
	      "Proposes settings to the agent's tuning loop. It changes nothing itself.\n\n"
	      "  --socket PATH  the agent's socket (" ADVISOR_SOCKET ")\n"
	      "  --kb DIR       folder of the knowledge base (" ADVISOR_KB ")\n"
	      "  --user NAME    who to become when started by root (" OWN_USER ")\n"
	      "  --once         end after one question was answered\n"
	      "  --verbose      say more\n"
	      "  --help, --version\n",
		out);
}

/* Started by root: be another. 0 or an exit code. */
static enum exit_code become(const char *name, const char *kb)
{
	const struct passwd *user;

	if (geteuid() != 0)
		return EXIT_CODE_OK;
	if (strcmp(name, "root") == 0) { /* asked for; its capabilities go all the same */
		mkdir(kb, 0700);
		return EXIT_CODE_OK;
	}
	user = getpwnam(name);
	if (!user) {
		log_error("There is no user %s: make it with systemd-sysusers, or name another "
			  "with --user.",
			name);
		return EXIT_CODE_PERMISSION;
	}
	if (mkdir(kb, 0700) == 0 && chown(kb, user->pw_uid, user->pw_gid) < 0)
		log_warn("%s cannot be given to %s: %s.", kb, name, strerror(errno));
	if (setgroups(0, NULL) < 0 || setresgid(user->pw_gid, user->pw_gid, user->pw_gid) < 0 ||
		setresuid(user->pw_uid, user->pw_uid, user->pw_uid) < 0) {
		log_error("The user %s cannot be become: %s.", name, strerror(errno));
		return EXIT_CODE_PERMISSION;
	}
	return EXIT_CODE_OK;
}

static enum exit_code give_up_rights(void)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
		log_error("New privileges cannot be renounced: %s.", strerror(errno));
		return EXIT_CODE_PERMISSION;
	}
	if (capng_get_caps_process() == 0 &&
		capng_have_capabilities(CAPNG_SELECT_CAPS) == CAPNG_NONE)
		return EXIT_CODE_OK; /* as under systemd, where the call to drop some is not allowed either */
	capng_clear(CAPNG_SELECT_BOTH);
	if (capng_apply(CAPNG_SELECT_CAPS) != 0) {
		log_error("Capabilities cannot be given up.");
		return EXIT_CODE_PERMISSION;
	}
	return EXIT_CODE_OK;
}

int main(int argc, char **argv)
{
	static const struct option long_options[] = { { "socket", required_argument, NULL, 's' },
		{ "kb", required_argument, NULL, 'k' }, { "user", required_argument, NULL, 'u' },
		{ "once", no_argument, NULL, 'o' }, { "verbose", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' }, { "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 } };
	struct advisor_options options = { .socket = ADVISOR_SOCKET, .kb = ADVISOR_KB };
	struct sigaction action = { .sa_handler = on_signal };
	const char *user = OWN_USER;
	enum exit_code code;
	int c;

	while ((c = getopt_long(argc, argv, "hV", long_options, NULL)) != -1) {
		switch (c) {
		case 's':
			options.socket = optarg;
			break;
		case 'k':
			options.kb = optarg;
			break;
		case 'u':
			user = optarg;
			break;
		case 'o':
			options.once = true;
			break;
		case 'v':
			log_set_level(LOG_LEVEL_DEBUG);
			break;
		case 'h':
			help(stdout);
			return EXIT_CODE_OK;
		case 'V':
			puts("semantos-advisor " SEMANTOS_VERSION);
			return EXIT_CODE_OK;
		default:
			help(stderr);
			return EXIT_CODE_USAGE;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "%s is no option of semantos-advisor; see --help.\n", argv[optind]);
		return EXIT_CODE_USAGE;
	}
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	umask(0077);
	code = become(user, options.kb);
	if (!code)
		code = give_up_rights();
	return code ? (int)code : (int)advisor_run(&options, &stop);
}
