// SPDX-License-Identifier: Apache-2.0
/*
 * kmod.c - attaches the policies of kmod.bpf.c to semantos.ko while semantos_blkcall decides, and looks at what comes
 * of it. Runs in the test machine, as root, with both modules loaded.
 *
 *   kmod attach          holder, second attach, pin and unpin, what the verifier and the module refuse
 *   kmod nonsense        whatever select_leg() and admit() return, no wrong leg is taken and it is counted
 *   kmod replace N       two policies take turns N times: every decision is one of the two's
 *   kmod lease           without the lease the default applies, and within 100 ms after it was last renewed
 *   kmod pin             leaves a policy pinned at /sys/fs/bpf/policy, and a table of verdicts beside it
 *   kmod infer           models handed over, refused and swapped; scores equal those computed here, to the bit
 *   kmod model           one model handed over, which stays
 * Exit: 0, or 1 with a sentence.
 */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "agent/infer/kernel_net.h"
#include "agent/infer/random.h"
#include "bpf/blk_ops.h"
#include "kmod/infer/features.h"
#include "kmod/infer/net.h"

#define OBJECT "build/tests/vm/kmod.bpf.o"
#define REFUSED "build/tests/vm/kmod_refused.bpf.o"
#define PARAM "/sys/module/semantos/parameters/"
#define CALLS "/sys/module/semantos_blkcall/parameters/"
#define PIN "/sys/fs/bpf/policy"

__attribute__((format(printf, 1, 2), noreturn)) static void fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	exit(1);
}

#define expect(what, ...)                  \
	do {                               \
		if (!(what))               \
			fail(__VA_ARGS__); \
	} while (0)

static void read_file(const char *path, char *to, size_t size)
{
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, to, size - 1);

	expect(n >= 0, "%s cannot be read: %s", path, strerror(errno));
	to[n] = 0;
	close(fd);
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	expect(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text),
		"'%s' cannot be written to %s: %s", text, path, strerror(errno));
	close(fd);
}

/* The figure after " key=" in a parameter's text. */
static unsigned long long figure(const char *path, const char *key)
{
	char text[8192], word[64], *at;

	read_file(path, text, sizeof(text));
	snprintf(word, sizeof(word), "%s=", key);
	for (at = strstr(text, word); at; at = strstr(at + 1, word))
		if (at == text || at[-1] == ' ')
			return strtoull(at + strlen(word), NULL, 0);
	fail("%s has no %s: %s", path, key, text);
}

static void holder_is(const char *name)
{
	char text[64];

	read_file(PARAM "holder", text, sizeof(text));
	text[strcspn(text, "\n")] = 0;
	expect(!strcmp(text, name), "the holder is %s, expected %s", text, name);
}

static uint64_t now_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void sleep_ms(int ms)
{
	usleep((useconds_t)ms * 1000);
}

/* Wait until `path`'s figure has grown by `more`; fails after 20 s. */
static void wait_for_more(const char *path, const char *key, unsigned long long more)
{
	unsigned long long from = figure(path, key);

	for (int i = 0; i < 4000; i++) {
		if (figure(path, key) >= from + more)
			return;
		sleep_ms(5);
	}
	fail("%s did not grow by %llu in 20 s", key, more);
}

/* ---- the object ---- */

static struct bpf_object *object;

static int quiet(enum libbpf_print_level level, const char *format, va_list args)
{
	(void)level;
	(void)format;
	(void)args;
	return 0;
}

static struct bpf_map *policy(const char *name)
{
	struct bpf_map *map = bpf_object__find_map_by_name(object, name);

	expect(map, "%s has no %s", OBJECT, name);
	return map;
}

/* A global variable of the object, in the one data section that `section` names. */
static void *global(const char *section, const char *name, size_t size)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, object)
	{
		const char *map_name = bpf_map__name(map);
		const struct btf *btf = bpf_object__btf(object);
		const struct btf_type *type, *var;
		int id = btf__find_by_name_kind(btf, section, BTF_KIND_DATASEC);
		void *memory;

		if (!strstr(map_name, section))
			continue;
		expect(id > 0, "the object has no section %s", section);
		memory = mmap(NULL, bpf_map__value_size(map), PROT_READ | PROT_WRITE, MAP_SHARED,
			bpf_map__fd(map), 0);
		expect(memory != MAP_FAILED, "%s cannot be mapped: %s", section, strerror(errno));
		type = btf__type_by_id(btf, (__u32)id);
		for (int i = 0; i < btf_vlen(type); i++) {
			const struct btf_var_secinfo *at = btf_var_secinfos(type) + i;

			var = btf__type_by_id(btf, at->type);
			if (!strcmp(btf__name_by_offset(btf, var->name_off), name) &&
				at->size == size)
				return (char *)memory + at->offset;
		}
	}
	fail("the object has no %s in %s", name, section);
}

#define GLOBAL(type, name) ((volatile type *)global(".bss", name, sizeof(type)))

static void load(void)
{
	object = bpf_object__open_file(OBJECT, NULL);
	expect(object, "%s cannot be opened: %s", OBJECT, strerror(errno));
	expect(!bpf_object__load(object), "%s cannot be loaded: %s", OBJECT, strerror(errno));
}

static struct bpf_link *attach(const char *name)
{
	struct bpf_link *link = bpf_map__attach_struct_ops(policy(name));

	expect(link, "%s cannot be attached: %s", name, strerror(errno));
	return link;
}

static void run_program(const char *name)
{
	struct bpf_program *program = bpf_object__find_program_by_name(object, name);
	LIBBPF_OPTS(bpf_test_run_opts, opts);

	expect(program && !bpf_prog_test_run_opts(bpf_program__fd(program), &opts) && !opts.retval,
		"the program %s cannot be run: %s", name, strerror(errno));
}

/* ---- kmod attach ---- */

/* Of an object, load one policy and its one program only; NULL = it has none. */
static void only(struct bpf_object *other, const char *map_name, const char *program_name)
{
	struct bpf_program *program;
	struct bpf_map *map;

	bpf_object__for_each_map(map, other) if (bpf_map__type(map) == BPF_MAP_TYPE_STRUCT_OPS &&
						 strcmp(bpf_map__name(map), map_name))
		bpf_map__set_autocreate(map, false);
	bpf_object__for_each_program(program, other) bpf_program__set_autoload(
		program, program_name && !strcmp(bpf_program__name(program), program_name));
}

/* Attach a policy with one member changed: the module must refuse it with `expected`. */
static void refuses_member(
	const char *what, size_t offset, const void *value, size_t size, int expected)
{
	struct bpf_object *other = bpf_object__open_file(OBJECT, NULL);
	struct bpf_map *map = bpf_object__find_map_by_name(other, "policy_bare");
	size_t n;
	char *initial = bpf_map__initial_value(map, &n);
	struct bpf_link *link;
	int err;

	expect(initial && offset + size <= n, "the policy has no room for %s", what);
	memcpy(initial + offset, value, size);
	only(other, "policy_bare", NULL);
	expect(!bpf_object__load(other), "%s cannot be loaded: %s", OBJECT, strerror(errno));
	libbpf_set_print(quiet);
	link = bpf_map__attach_struct_ops(map);
	err = errno;
	libbpf_set_print(NULL);
	expect(!link && err == expected, "%s: %s, expected %s", what,
		link ? "it was attached" : strerror(err), strerror(expected));
	bpf_object__close(other);
}

/* Does the verifier take this program? */
static void program_is(const char *name, bool taken)
{
	struct bpf_object *other = bpf_object__open_file(REFUSED, NULL);
	char map_name[64];
	int err;

	expect(other, "%s cannot be opened", REFUSED);
	snprintf(map_name, sizeof(map_name), "policy_%s", name);
	only(other, map_name, name);
	libbpf_set_print(quiet);
	err = bpf_object__load(other);
	libbpf_set_print(NULL);
	expect(!err == taken, "the verifier %s the program %s", err ? "refused" : "took", name);
	bpf_object__close(other);
}

static void test_attach(void)
{
	struct bpf_link *link, *second;
	uint32_t flags = SEMANTOS_BLK_F_ALL + 1, version = SEMANTOS_BLK_VERSION + 1;
	unsigned long long completed;
	int err;

	load();
	holder_is("none");
	link = attach("policy_first");
	holder_is("first");
	wait_for_more(PARAM "state", "obeyed", 1000);
	completed = *GLOBAL(unsigned long long, "completed");
	wait_for_more(PARAM "state", "completed", 1000);
	expect(*GLOBAL(unsigned long long, "completed") > completed,
		"completions are not reported");

	second = bpf_map__attach_struct_ops(policy("policy_last"));
	err = errno;
	expect(!second && err == EBUSY, "a second policy: %s", second ? "attached" : strerror(err));
	holder_is("first");

	/* The pin keeps it; without the pin it goes. */
	expect(!bpf_link__pin(link, PIN), "the link cannot be pinned: %s", strerror(errno));
	bpf_link__destroy(link);
	sleep_ms(100);
	holder_is("first");
	wait_for_more(PARAM "state", "obeyed", 1000);
	expect(!unlink(PIN), "the pin cannot be removed");
	for (int i = 0; i < 100; i++) {
		char text[64];

		read_file(PARAM "holder", text, sizeof(text));
		if (!strcmp(text, "none\n"))
			break;
		sleep_ms(20);
	}
	holder_is("none");
	wait_for_more(PARAM "state", "no_policy", 1000);

	/* Detached while it is asked as fast as two threads can. */
	for (int i = 0; i < 5; i++) {
		link = attach("policy_last");
		wait_for_more(PARAM "state", "obeyed", 200);
		expect(!bpf_link__detach(link), "detach: %s", strerror(errno));
		holder_is("none");
		bpf_link__destroy(link);
		wait_for_more(PARAM "state", "no_policy", 200);
	}
	/* Only the name is mandatory. */
	link = attach("policy_bare");
	holder_is("bare");
	bpf_link__destroy(link);
	expect(!*GLOBAL(unsigned long long, "view_wrong"), "a policy was shown nonsense");

	refuses_member(
		"an unknown flag", offsetof(struct semantos_blk_ops, flags), &flags, 4, EINVAL);
	refuses_member("another version", offsetof(struct semantos_blk_ops, version), &version, 4,
		EPROTONOSUPPORT);
	refuses_member("no name", offsetof(struct semantos_blk_ops, name), "\0", 1, EINVAL);
	refuses_member("a name without end", offsetof(struct semantos_blk_ops, name),
		"0123456789abcdef", 16, EINVAL);
	refuses_member(
		"a name with a blank", offsetof(struct semantos_blk_ops, name), "a b", 4, EINVAL);
	program_is("fine", true);
	program_is("writes", false);
	program_is("mistakes", false);
	program_is("invents", false);
	program_is("too_small", false);
	program_is("renews", false);
	program_is("sleeps", false);
}

/* ---- kmod nonsense ---- */

static void test_nonsense(void)
{
	static const long long answers[] = { 3, 7, 8, 77, -2, INT32_MIN, INT32_MAX, -4096 };
	struct bpf_link *link;
	volatile long long *told;
	volatile int *told_admit;

	load();
	told = GLOBAL(long long, "told");
	told_admit = GLOBAL(int, "told_admit");
	link = attach("policy_told");
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		unsigned long long obeyed;

		*told = answers[i];
		sleep_ms(20); /* decisions under way */
		obeyed = figure(PARAM "state", "obeyed");
		wait_for_more(PARAM "state", "bad_leg", 500);
		expect(figure(PARAM "state", "obeyed") == obeyed, "the answer %lld was obeyed",
			answers[i]);
	}
	*told = SEMANTOS_BLK_DEFAULT;
	wait_for_more(PARAM "state", "deferred", 500);
	*told = 1;
	wait_for_more(PARAM "state", "obeyed", 500);

	write_file(CALLS "nowait", "1");
	wait_for_more(PARAM "state", "admitted", 500);
	*told_admit = SEMANTOS_BLK_REFUSE;
	wait_for_more(CALLS "state", "refused", 500);
	for (int i = 0; i < 3; i++) {
		static const int bad[] = { 2, -11, INT32_MIN };

		*told_admit = bad[i];
		wait_for_more(PARAM "state", "bad_admit", 500);
	}
	write_file(CALLS "nowait", "0");

	/* A leg goes and comes back: never named while it is away, whatever the policy says. */
	for (int i = 0; i < 10; i++) {
		write_file(CALLS "fail", "1");
		sleep_ms(10);
		wait_for_more(PARAM "state", "bad_leg", 100);
		write_file(CALLS "fail", "-1");
		wait_for_more(PARAM "state", "obeyed", 100);
	}
	bpf_link__destroy(link);
	expect(figure(CALLS "state", "wrong") == 0, "%llu decisions were wrong",
		figure(CALLS "state", "wrong"));
}

/* ---- kmod replace N ---- */

static void test_replace(int rounds)
{
	unsigned long long no_policy, decisions, asked;
	struct bpf_link *link;
	uint64_t began;

	load();
	link = attach("policy_first");
	wait_for_more(PARAM "state", "obeyed", 500);
	no_policy = figure(PARAM "state", "no_policy");
	decisions = figure(PARAM "state", "decisions");
	began = now_ns(CLOCK_MONOTONIC);
	for (int i = 0; i < rounds; i++) {
		const char *name = i % 2 ? "policy_first" : "policy_last";

		expect(!bpf_link__update_map(link, policy(name)), "replacement %d: %s", i,
			strerror(errno));
		holder_is(i % 2 ? "first" : "last");
	}
	began = now_ns(CLOCK_MONOTONIC) - began;
	decisions = figure(PARAM "state", "decisions") - decisions;
	expect(figure(PARAM "state", "no_policy") == no_policy,
		"%llu of %llu decisions were taken by neither policy",
		figure(PARAM "state", "no_policy") - no_policy, decisions);
	asked = *GLOBAL(unsigned long long, "asked_first") +
		*GLOBAL(unsigned long long, "asked_last");
	expect(*GLOBAL(unsigned long long, "asked_last") && asked, "a policy was never asked");
	expect(!*GLOBAL(unsigned long long, "view_wrong"), "a policy was shown nonsense");
	bpf_link__destroy(link);
	expect(figure(CALLS "state", "wrong") == 0, "decisions were wrong");
	printf("NOTE %d replacements under %llu decisions, none uncovered, %.1f ms each\n", rounds,
		decisions, (double)began / 1e6 / rounds);
}

/* ---- kmod lease ---- */

/* The kfunc's answer about a word, by the program `judge`. */
static unsigned long long judged(uint64_t word, uint32_t generation, uint64_t ttl_ns)
{
	*GLOBAL(unsigned long long, "word") = word;
	*GLOBAL(unsigned long long, "word_ttl_ns") = ttl_ns;
	*GLOBAL(unsigned, "word_generation") = generation;
	run_program("judge");
	return *GLOBAL(unsigned long long, "word_judged");
}

/* A verdict counts while it is fresh, of this generation, within the TTL, and the agent lives. */
static void test_verdict(void)
{
	const uint64_t ttl_ns = 50000000;
	uint64_t now = now_ns(CLOCK_BOOTTIME),
		 word = semantos_verdict_pack(now + ttl_ns / 2, 5, 200, 1);
	uint64_t far = semantos_verdict_pack(now + 1000 * ttl_ns, 5, 200, 1);
	uint64_t stale = semantos_verdict_pack(now - ttl_ns, 5, 200, 1);

	/* The word's time is its own: a machine that is slow here is given more of it. */
	for (int i = 0; i < 20; i++) {
		now = now_ns(CLOCK_BOOTTIME);
		word = semantos_verdict_pack(now + ttl_ns, 5, 200, 1);
		run_program("renew");
		if (judged(word, 5, ttl_ns) == word)
			break;
		expect(i < 19, "a fresh verdict does not count");
	}
	run_program("renew");
	expect(!judged(word, 6, ttl_ns), "a verdict of another generation counts");
	expect(!judged(stale, 5, ttl_ns), "a stale verdict counts");
	expect(!judged(far, 5, ttl_ns), "a verdict beyond the TTL counts");
	run_program("give_up");
	word = semantos_verdict_pack(now_ns(CLOCK_BOOTTIME) + ttl_ns, 5, 200, 1);
	expect(!judged(word, 5, ttl_ns), "a verdict counts without a lease");
}

static void test_lease(void)
{
	unsigned long long obeyed;
	struct bpf_link *link;
	uint64_t renewed, gone = 0;

	load();
	test_verdict();
	link = attach("policy_leased");
	wait_for_more(PARAM "state", "no_lease", 500);
	expect(!*GLOBAL(unsigned long long, "asked_last"), "a policy was asked without a lease");
	for (int i = 0; i < 40; i++) {
		run_program("renew");
		sleep_ms(10);
	}
	expect(*GLOBAL(unsigned long long, "asked_last") > 100,
		"a policy with a lease was not asked");
	run_program("give_up");
	sleep_ms(20);
	obeyed = figure(PARAM "state", "obeyed");
	wait_for_more(PARAM "state", "no_lease", 500);
	expect(figure(PARAM "state", "obeyed") == obeyed, "a lease given up was honoured");

	/* Nobody gives it up: it lapses by itself, by the kernel's clock. */
	for (int i = 0; i < 20; i++) {
		unsigned long long asked = *GLOBAL(unsigned long long, "asked_last"), last;

		run_program("renew");
		renewed = now_ns(CLOCK_BOOTTIME);
		sleep_ms(150);
		expect(*GLOBAL(unsigned long long, "asked_last") > asked,
			"a renewed lease was not honoured");
		last = *GLOBAL(unsigned long long, "last_ns");
		expect(last < renewed + SEMANTOS_LEASE_NS,
			"a policy was asked %.3f ms after the renewal",
			((double)last - (double)renewed) / 1e6);
		if (last > renewed && last - renewed > gone)
			gone = last - renewed;
	}
	obeyed = figure(PARAM "state", "obeyed");
	wait_for_more(PARAM "state", "no_lease", 500);
	expect(figure(PARAM "state", "obeyed") == obeyed, "a lapsed lease was honoured");
	bpf_link__destroy(link);
	printf("NOTE the latest decision asked for was %.1f ms after the renewal, in 20 "
	       "rounds\n",
		(double)gone / 1e6);
}

static void test_pin(void)
{
	struct bpf_map *map;
	struct bpf_link *link;

	load();
	link = attach("policy_first");
	expect(!bpf_link__pin(link, PIN), "the link cannot be pinned: %s", strerror(errno));
	map = bpf_object__find_map_by_name(object, "verdicts");
	expect(map && !bpf_map__pin(map, "/sys/fs/bpf/verdicts"), "verdicts cannot be pinned");
}

/* ---- kmod infer ---- */

static struct infer_net *packed(const void *blob, size_t n)
{
	const char *why;
	size_t size;
	struct infer_net *net;

	expect(!infer_net_check(blob, n, &size, &why), "a net is refused: %s", why);
	net = aligned_alloc(64, (size + 63) / 64 * 64);
	expect(net, "no memory");
	memset(net, 0, size);
	expect(!infer_net_pack(net, blob, &why), "a net is refused: %s", why);
	return net;
}

static void *linnos(uint64_t seed, uint32_t number, size_t *n)
{
	static const uint32_t widths[] = { 31, 256, 2 };
	struct model *model = model_new("made", "linnos-digits", widths, 3);
	struct random_state random = random_seed(seed);
	struct model_error error;
	void *blob;

	for (uint32_t l = 0; l < 2; l++) {
		model->layer[l].activation = l ? MODEL_LINEAR : MODEL_RELU;
		for (uint32_t i = 0; i < model->layer[l].inputs * model->layer[l].outputs; i++)
			model->layer[l].weight[i] = (float)(4 * random_unit(&random) - 2);
		for (uint32_t i = 0; i < model->layer[l].outputs; i++)
			model->layer[l].bias[i] = (float)(4 * random_unit(&random) - 2);
	}
	expect(!model_quantise(model), "the net has no twin");
	blob = kernel_net_build(model, number, n, &error);
	expect(blob, "%s", error.text);
	model_free(model);
	return blob;
}

static void test_infer(void)
{
	int device = open("/dev/semantos", O_RDWR);
	struct infer_net *net[2];
	struct infer_scratch *scratch = aligned_alloc(64, sizeof(*scratch));
	volatile unsigned long long *recorded;
	volatile int *inferred;
	long long *score;
	struct semantos_block_record *record;
	unsigned long long busy_before;
	struct bpf_link *link;
	char why[256] = "", state[8192], *at;
	uint8_t *blob[2];
	size_t n[2];

	expect(device >= 0 && scratch, "/dev/semantos cannot be opened: %s", strerror(errno));
	load();
	recorded = GLOBAL(unsigned long long, "recorded");
	inferred = GLOBAL(int, "inferred");
	score = global(".bss", "score", sizeof(long long) * SEMANTOS_BLK_MAX_LEGS);
	record = global(".bss", "record", sizeof(*record) * SEMANTOS_BLK_MAX_LEGS);
	for (uint32_t i = 0; i < 2; i++) {
		blob[i] = linnos(i + 1, i, &n[i]);
		net[i] = packed(blob[i], n[i]);
		expect(write(device, blob[i], n[i]) == (ssize_t)n[i], "model %u is refused: %s", i,
			strerror(errno));
	}
	/* What is not a net is refused with a sentence, and changes nothing. */
	blob[0][0] ^= 1;
	expect(write(device, blob[0], n[0]) == -1 && errno == EINVAL, "a broken net was taken");
	expect(read(device, why, sizeof(why) - 1) > 10, "a refusal has no sentence");
	blob[0][0] ^= 1;
	expect(write(device, blob[0], n[0] - 1) == -1 && errno == EINVAL, "a cut net was taken");
	expect(figure(PARAM "state", "generation") == 1, "a refusal moved the generation on");

	link = attach("policy_infers");
	for (int round = 0; round < 20; round++) {
		*recorded = 1;
		for (int i = 0; i < 500 && *recorded != 2; i++) {
			run_program("renew");
			sleep_ms(5);
		}
		expect(*recorded == 2 && *inferred == 0, "nothing was inferred: %d", *inferred);
		for (int leg = 0; leg < 2; leg++) {
			int64_t out[INFER_MAX_OUTPUTS];

			infer_encode(net[leg]->encoder, &record[leg], scratch->feature);
			infer_load(net[leg], scratch, scratch->feature);
			infer_run_scalar(net[leg], scratch, out);
			/* Other threads go on meanwhile: the kept record can be newer than the score by an event. */
			if (infer_score(net[leg], out) != score[leg] && round == 19)
				fail("leg %d: the kernel says %lld, expected %lld", leg, score[leg],
					(long long)infer_score(net[leg], out));
			if (infer_score(net[leg], out) != score[leg])
				break;
			if (leg == 1)
				round = 20; /* both legs at once */
		}
		expect(score[2] == -1, "a model that is not there gave a score");
	}
	/* Swapped while it runs, 200 times. */
	busy_before = figure(PARAM "state", "deferred");
	for (int i = 0; i < 200; i++) {
		run_program("renew");
		expect(write(device, blob[0], n[0]) == (ssize_t)n[0], "swap %d: %s", i,
			strerror(errno));
	}
	expect(figure(PARAM "state", "generation") == 201, "the generation is %llu, expected 201",
		figure(PARAM "state", "generation"));
	expect(figure(PARAM "state", "deferred") > busy_before, "nothing ran during the swaps");
	/* A head alone takes the model away. */
	((struct infer_blob_head *)blob[0])->n_layers = 0;
	expect(write(device, blob[0], sizeof(struct infer_blob_head)) ==
			(ssize_t)sizeof(struct infer_blob_head),
		"a model cannot be removed");
	bpf_link__destroy(link);
	close(device);
	read_file(PARAM "state", state, sizeof(state));
	at = strstr(state, "inference");
	expect(at, "the state does not name the path: %s", state);
	printf("NOTE %.*s; scores of the kernel equal those of user space\n",
		(int)strcspn(at, "\n"), at);
}

/* One model handed over; it stays. */
static void test_model(void)
{
	int device = open("/dev/semantos", O_RDWR);
	size_t n;
	uint8_t *blob = linnos(1, 0, &n);

	expect(device >= 0, "/dev/semantos cannot be opened: %s", strerror(errno));
	expect(write(device, blob, n) == (ssize_t)n, "the model is refused: %s", strerror(errno));
	close(device);
	free(blob);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!strcmp(what, "attach"))
		test_attach();
	else if (!strcmp(what, "nonsense"))
		test_nonsense();
	else if (!strcmp(what, "replace") && argc > 2)
		test_replace(atoi(argv[2]));
	else if (!strcmp(what, "lease"))
		test_lease();
	else if (!strcmp(what, "pin"))
		test_pin();
	else if (!strcmp(what, "infer"))
		test_infer();
	else if (!strcmp(what, "model"))
		test_model();
	else
		fail("usage: kmod attach | nonsense | replace N | lease | pin | infer | model");
	return 0;
}
