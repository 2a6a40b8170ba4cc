// SPDX-License-Identifier: Apache-2.0
/*
 * inferns.c - prints what one inference of model 0 in semantos.ko costs, by the kernel's clock: "calls=N least_ns=X".
 *
 * The least of many rounds, as interrupts only add. On a machine whose clock counts instructions (-icount) the time is
 * that count. The model must be there: `kmod model` hands one over. inferns.bpf.c is its kernel side.
 * Exit: 0, 1 with a sentence.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define ROUNDS 200

struct command { /* as in inferns.bpf.c */
	int32_t error;
	uint32_t calls;
	uint64_t took_ns, empty_ns;
};

int main(void)
{
	struct bpf_object *object = bpf_object__open_file("build/tests/vm/inferns.bpf.o", NULL);
	struct bpf_program *program;
	struct command command;
	double least = 1e18, each;

	if (!object || bpf_object__load(object)) {
		printf("The program cannot be loaded: %s\n", strerror(errno));
		return 1;
	}
	program = bpf_object__find_program_by_name(object, "inferns");
	for (int round = 0; round < ROUNDS; round++) {
		LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = &command,
			.ctx_size_in = sizeof(command));

		memset(&command, 0, sizeof(command));
		if (bpf_prog_test_run_opts(bpf_program__fd(program), &options) || command.error) {
			printf("It does not run: %s, error %d\n", strerror(errno), command.error);
			return 1;
		}
		each = ((double)command.took_ns - (double)command.empty_ns) / command.calls;
		least = each < least ? each : least;
	}
	printf("calls=%u least_ns=%.1f\n", ROUNDS * command.calls, least);
	bpf_object__close(object);
	return 0;
}
