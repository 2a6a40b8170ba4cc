/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_api_connection.c - connections: bad bytes, silence, too many, captures, the socket file, the end.
 *
 * Over a real socket, see api_harness.h. Needs root, to be other users.
 */
#include "tests/unit/api_harness.h"

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

/* ---- raw connections ---- */

static int raw_connect(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct timeval limit = { .tv_sec = 5 };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, socket_path);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	return fd;
}

/* Read until the other end closes; true when it did within the limit. */
static bool closes(int fd)
{
	char bytes[4096];
	ssize_t n;

	do {
		n = recv(fd, bytes, sizeof(bytes), 0);
	} while (n > 0);
	return n == 0 || errno == ECONNRESET || errno == EPIPE;
}

static void garbage_loses_only_its_connection(void **state)
{
	static const char *const first[] = { "GET / HTTP/1.0\r\n\r\n", "\xff\xfe", "PRI * HTTP/2.1",
		PREFACE "this is no frame, this is no frame, this is no frame" };

	(void)state;
	for (size_t i = 0; i < sizeof(first) / sizeof(first[0]); i++) {
		int fd = raw_connect();

		assert_int_equal(
			send(fd, first[i], strlen(first[i]), MSG_NOSIGNAL), (int)strlen(first[i]));
		assert_true(closes(fd));
		close(fd);
	}
	srand(1);
	for (int i = 0; i < 50; i++) {
		char bytes[512] = PREFACE;
		int fd = raw_connect();

		for (size_t j = sizeof(PREFACE) - 1; j < sizeof(bytes); j++)
			bytes[j] = (char)rand();
		(void)!send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL);
		shutdown(fd, SHUT_WR);
		assert_true(closes(fd));
		close(fd);
	}
	assert_int_equal(as(0, 0, do_status, NULL).code, EXIT_CODE_OK);
}

static void silence_is_cut_off(void **state)
{
	uint64_t begin = now_ms();
	int silent = raw_connect(), half = raw_connect();

	(void)state;
	assert_int_equal(send(half, PREFACE, 10, MSG_NOSIGNAL), 10);
	assert_true(closes(silent));
	assert_true(closes(half));
	assert_in_range(now_ms() - begin, API_PREFACE_MS - 100, API_PREFACE_MS + 4000);
	close(silent);
	close(half);
}

static void one_user_cannot_take_all_connections(void **state)
{
	int ready[2], done[2], status;
	char byte;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(ready) | pipe(done), 0);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		int fd[API_MAX_CONNECTIONS_PER_UID + 1];

		alarm(30);
		become(NOBODY, READER_GID);
		for (int i = 0; i <= API_MAX_CONNECTIONS_PER_UID; i++) {
			fd[i] = raw_connect();
			(void)!send(fd[i], PREFACE, strlen(PREFACE), MSG_NOSIGNAL);
		}
		byte = closes(fd[API_MAX_CONNECTIONS_PER_UID]);
		/* the first still talks: its SETTINGS frame comes */
		byte = byte && recv(fd[0], &byte, 1, 0) == 1;
		(void)!write(ready[1], &byte, 1);
		(void)!read(done[0], &byte, 1);
		_exit(0);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_true(byte);
	assert_int_equal(as(0, 0, do_status, NULL).code, EXIT_CODE_OK);
	assert_int_equal(as(NOBODY, READER_GID, do_status, NULL).code, EXIT_CODE_NO_AGENT);
	assert_int_equal(write(done[1], "", 1), 1);
	waitpid(pid, &status, 0);
	for (int i = 0; i < 50 && as(NOBODY, READER_GID, do_status, NULL).code != EXIT_CODE_OK; i++)
		usleep(20000); /* the server sees the ends on its own time */
	assert_int_equal(as(NOBODY, READER_GID, do_status, NULL).code, EXIT_CODE_OK);
	close(ready[0]);
	close(ready[1]);
	close(done[0]);
	close(done[1]);
}

/* ---- captures ---- */

struct captured {
	uint64_t rows, last_id, gaps;
	bool last;
	char text[300];
	uint64_t stop_after;
	uint32_t pause_ms; /* before the first chunk is taken */
};

static bool each_chunk(void *ctx, const ProtobufCMessage *message)
{
	const Semantos__V1__CaptureChunk *chunk = (const Semantos__V1__CaptureChunk *)message;
	struct captured *captured = ctx;

	if (captured->rows == 0)
		usleep(captured->pause_ms * 1000);
	for (size_t i = 0; i + sizeof(struct semantos_block_record) <= chunk->records.len;
		i += sizeof(struct semantos_block_record)) {
		struct semantos_block_record record;

		memcpy(&record, chunk->records.data + i, sizeof(record));
		captured->gaps += record.head.request_id != captured->last_id + 1;
		captured->last_id = record.head.request_id;
		captured->rows++;
	}
	captured->last = chunk->last;
	if (chunk->last)
		snprintf(captured->text, sizeof(captured->text), "%s", chunk->text);
	return captured->stop_after == 0 || captured->rows < captured->stop_after;
}

struct capture_ask {
	const char *device;
	uint64_t rows, stop_after;
	uint32_t seconds, pause_ms; /* of the client, before it takes the first chunk */
};

static void do_capture(struct client *client, struct answer *answer, const void *arg)
{
	const struct capture_ask *ask = arg;
	Semantos__V1__CaptureRequest request = SEMANTOS__V1__CAPTURE_REQUEST__INIT;
	struct captured captured = { .stop_after = ask->stop_after, .pause_ms = ask->pause_ms };
	struct client_error error = { 0 };

	request.policy = (char *)"linnos";
	request.device = (char *)ask->device;
	request.rows = ask->rows;
	request.seconds = ask->seconds;
	if (client_stream(client, "Capture", &request.base,
		    &semantos__v1__capture_chunk__descriptor, 20000, NULL, each_chunk, &captured,
		    &error))
		snprintf(answer->text, sizeof(answer->text), "%s", error.text);
	else
		snprintf(answer->text, sizeof(answer->text), "%llu rows, %llu gaps, %s: %s",
			(unsigned long long)captured.rows, (unsigned long long)captured.gaps,
			captured.last ? "complete" : "incomplete", captured.text);
	answer->code = (int)error.code;
}

static void captures_end_at_their_rows_or_seconds(void **state)
{
	struct capture_ask rows = { "nvme0n1", 5000, 0, 10, 0 },
			   time = { "nvme0n1", 1000000, 0, 1, 0 },
			   cut = { "nvme0n1", 1000000, 1000, 10, 0 }, none = { "sdz", 10, 0, 1, 0 },
			   bad = { "nvme0n1", 0, 0, 1, 0 };
	struct answer answer = as(0, 0, do_capture, &rows);

	(void)state;
	assert_string_equal(answer.text, "5000 rows, 0 gaps, complete: 5000 of 5000 reads of "
					 "nvme0n1 were captured: all that were asked for.");
	answer = as(NOBODY, READER_GID, do_capture, &time);
	assert_non_null(strstr(answer.text, "0 gaps, complete"));
	assert_non_null(strstr(answer.text, "the time is over"));
	answer = as(0, 0, do_capture, &cut);
	assert_non_null(strstr(answer.text, "incomplete"));
	answer = as(0, 0, do_capture, &none);
	assert_int_equal(answer.code, EXIT_CODE_NOT_FOUND);
	assert_non_null(strstr(answer.text, "sdz"));
	answer = as(0, 0, do_capture, &bad);
	assert_int_equal(answer.code, EXIT_CODE_REFUSED);
	assert_int_equal(as(NOBODY, 0, do_capture, &rows).code, EXIT_CODE_PERMISSION);
}

static void rows_a_slow_client_misses_are_counted(void **state)
{
	struct capture_ask slow = { "nvme0n1", 40000000, 0, 2, 1500 };
	struct answer answer = as(0, 0, do_capture, &slow);
	unsigned long long rows, gaps, missing = 0;
	const char *told = strstr(answer.text, "is over. ");

	(void)state;
	assert_int_equal(sscanf(answer.text, "%llu rows, %llu gaps", &rows, &gaps), 2);
	assert_true(gaps > 0);
	assert_non_null(told);
	assert_int_equal(sscanf(told, "is over. %llu more found the buffer full", &missing), 1);
	assert_true(missing > 0);
}

static void stop_ends_a_capture_in_order_and_leaks_nothing(void **state)
{
	struct capture_ask ask = { "nvme0n1", 40000000, 0, 600, 0 };
	struct answer answer = { .code = -1 };
	struct ended ended = { 0 };
	int pipe_fd[2];
	pid_t pid;

	assert_int_equal(server_start(state), 0);
	assert_int_equal(pipe(pipe_fd), 0);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		close(server_in);
		answer = as(0, 0, do_capture, &ask);
		_exit(write(pipe_fd[1], &answer, sizeof(answer)) != sizeof(answer));
	}
	usleep(500000);
	assert_int_equal(server_stop(&ended), 0);
	assert_int_equal(read(pipe_fd[0], &answer, sizeof(answer)), sizeof(answer));
	waitpid(pid, NULL, 0);
	close(pipe_fd[0]);
	close(pipe_fd[1]);
	assert_non_null(strstr(answer.text, "complete"));
	assert_non_null(strstr(answer.text, "the agent stops"));
	/* the capture would have taken 600 s; how soon is a matter of the machine's load */
	assert_in_range(ended.stop_ms, 0, 60000);
	assert_int_equal(ended.fds_after, ended.fds_before);
	assert_int_equal(access(socket_path, F_OK), -1);
}

static void stop_does_not_wait_for_clients_that_hang(void **state)
{
	struct ended ended = { 0 };
	int fd[4];

	assert_int_equal(server_start(state), 0);
	for (int i = 0; i < 4; i++) {
		fd[i] = raw_connect();
		if (i > 0)
			(void)!send(fd[i], PREFACE, i == 1 ? 10 : strlen(PREFACE), MSG_NOSIGNAL);
	}
	usleep(300000);
	assert_int_equal(server_stop(&ended), 0);
	assert_in_range(ended.stop_ms, 0, 2000);
	assert_int_equal(ended.fds_after, ended.fds_before);
	for (int i = 0; i < 4; i++)
		close(fd[i]);
	print_message("an idle server: %llu KiB, %llu us of CPU until stopped\n",
		(unsigned long long)ended.rss_kib, (unsigned long long)ended.cpu_us);
}

/* ---- the socket file ---- */

static void start_error(char error[256])
{
	int pipe_fd[2];
	pid_t pid;

	memset(error, 0, 256);
	assert_int_equal(pipe(pipe_fd), 0);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		char text[256] = "";
		struct api_server *server = api_start(NULL, NULL, socket_path, text, sizeof(text));

		api_stop(server);
		_exit(write(pipe_fd[1], text, sizeof(text)) != sizeof(text));
	}
	close(pipe_fd[1]);
	assert_int_equal(read(pipe_fd[0], error, 256), 256);
	close(pipe_fd[0]);
	waitpid(pid, NULL, 0);
}

static void socket_is_open_to_all_in_a_folder_that_is_not(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(stat(socket_path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0666);
	*strrchr(socket_path, '/') = '\0';
	assert_int_equal(stat(socket_path, &st), 0);
	socket_path[strlen(socket_path)] = '/';
	assert_int_equal(st.st_mode & 07777, 0755);
}

static void living_sockets_and_files_are_not_replaced(void **state)
{
	char error[256];

	(void)state;
	start_error(error);
	assert_non_null(strstr(error, "Another process answers"));
	assert_int_equal(as(0, 0, do_status, NULL).code, EXIT_CODE_OK);
}

static void left_over_sockets_are_replaced_but_no_file(void **state)
{
	char error[256];
	int fd;

	(void)state;
	kill(server_pid, SIGKILL);
	waitpid(server_pid, NULL, 0);
	close(server_in);
	close(server_out);
	assert_int_equal(access(socket_path, F_OK), 0);
	assert_int_equal(as(0, 0, do_status, NULL).code, EXIT_CODE_NO_AGENT);
	start_error(error);
	assert_string_equal(error, "");
	fd = open(socket_path, O_CREAT | O_WRONLY, 0600);
	close(fd);
	start_error(error);
	assert_non_null(strstr(error, "is no socket"));
	assert_int_equal(unlink(socket_path), 0);
	assert_int_equal(as(0, 0, do_status, NULL).code, EXIT_CODE_NO_AGENT);
}

static void a_stopped_agent_is_a_timeout(void **state)
{
	struct answer answer;
	uint64_t begin = now_ms();

	(void)state;
	kill(server_pid, SIGSTOP);
	assert_int_equal(
		waitpid(server_pid, NULL, WUNTRACED), server_pid); /* only now it has stopped */
	client_timeout_ms = 1000;
	answer = as(0, 0, do_status, NULL);
	client_timeout_ms = 5000;
	kill(server_pid, SIGCONT);
	assert_int_equal(answer.code, EXIT_CODE_TIMEOUT);
	assert_in_range(now_ms() - begin, 900, 4500);
	assert_non_null(strstr(answer.text, "stopped or busy"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(garbage_loses_only_its_connection),
		cmocka_unit_test(silence_is_cut_off),
		cmocka_unit_test(one_user_cannot_take_all_connections),
		cmocka_unit_test(captures_end_at_their_rows_or_seconds),
		cmocka_unit_test(rows_a_slow_client_misses_are_counted),
		cmocka_unit_test(socket_is_open_to_all_in_a_folder_that_is_not),
		cmocka_unit_test(living_sockets_and_files_are_not_replaced),
		cmocka_unit_test(a_stopped_agent_is_a_timeout),
	};
	const struct CMUnitTest own_server[] = {
		cmocka_unit_test(stop_ends_a_capture_in_order_and_leaks_nothing),
		cmocka_unit_test(stop_does_not_wait_for_clients_that_hang),
		cmocka_unit_test_setup(left_over_sockets_are_replaced_but_no_file, server_start),
	};
	int failed;

	if (!harness_open())
		return harness_close(77);
	failed = cmocka_run_group_tests(tests, server_start, server_end);
	failed += cmocka_run_group_tests(own_server, NULL, NULL);
	return harness_close(failed);
}
