// SPDX-License-Identifier: Apache-2.0
/*
 * test_metrics.c - /metrics over a real socket: what is given, what is refused, and that promtool has nothing to say.
 *
 * The core is invented (fake_control.h), the telemetry of this machine, without the kernel's half but with its figures
 * made up once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include "agent/api/metrics.h"
#include "tests/unit/fake_control.h"

static struct metrics_server *server;
static struct telemetry *telemetry;
static uint16_t port;
static char address[64];
static char reply[1 << 20];

static int begin(void **state)
{
	static const struct telemetry_options options = { .interval_s = 1 };
	char error[256];

	(void)state;
	telemetry = telemetry_new(&options);
	for (int i = 0; telemetry && i < 14; i++) {
		telemetry_take(telemetry);
		usleep(5000);
	}
	for (port = 9464; port < 9964; port++) {
		snprintf(address, sizeof(address), "127.0.0.1:%u", port);
		server = metrics_start(NULL, telemetry, address, error, sizeof(error));
		if (server)
			return 0;
	}
	print_error("%s\n", error);
	return -1;
}

static int end(void **state)
{
	(void)state;
	metrics_stop(server);
	telemetry_free(telemetry);
	return 0;
}

static int connection(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct timeval limit = { .tv_sec = 10 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

/* The status of the answer; the body is left in reply[]. */
static int ask(const char *request)
{
	int fd = connection(), status = 0;
	size_t used = 0;
	ssize_t n;
	char *body;

	assert_int_equal(write(fd, request, strlen(request)), (ssize_t)strlen(request));
	while (used < sizeof(reply) - 1 &&
		(n = read(fd, reply + used, sizeof(reply) - 1 - used)) > 0)
		used += (size_t)n;
	close(fd);
	reply[used] = 0;
	if (sscanf(reply, "HTTP/1.1 %d", &status) != 1)
		return 0;
	body = strstr(reply, "\r\n\r\n");
	assert_non_null(body);
	memmove(reply, body + 4, strlen(body + 4) + 1);
	return status;
}

#define GET(path) ask("GET " path " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

static void everything_is_given(void **state)
{
	static const char *const lines[] = {
		"semantos_build_info{version=\"0.1.0\",kernel=\"6.12.0-test\"} 1\n",
		"semantos_policy_mode{policy=\"linnos\",mode=\"canary\"} 1\n",
		"semantos_policy_delivered_total{policy=\"linnos\"} 1234500\n",
		"semantos_policy_dropped_total{policy=\"linnos\",cause=\"drop_ring_full\"} 10",
		"semantos_bpf_program_run_seconds_total{policy=\"linnos\",program=\"on_issue\"} "
		"0.155",
		"semantos_device_auc{policy=\"linnos\",device=\"nvme0n1\"} 0.7",
		"semantos_telemetry_lost_total{cause=\"hook_missed\"} 0\n",
		"semantos_own_cpu_ratio ",
		"semantos_memory_available_bytes ",
		"# TYPE semantos_page_in_bytes_total counter\n",
		"# HELP semantos_page_in_bytes_total Bytes read from disks into memory.\n",
		"semantos_anomaly_ratio{metric=\"load_1m\",of=\"\"} ",
	};

	(void)state;
	assert_int_equal(GET("/metrics"), 200);
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		if (!strstr(reply, lines[i]))
			fail_msg("\"%s\" is not in the answer", lines[i]);
	}
	/* what is not defined is not there: this device has no outcome yet, the policy no p99 */
	assert_null(strstr(reply, "semantos_device_auc{policy=\"linnos\",device=\"vda\"}"));
	assert_null(strstr(reply, "semantos_policy_decide_p99_seconds{"));
	assert_null(strstr(reply, "nan"));
	assert_null(strstr(reply, "NaN"));
}

static void other_requests_are_refused(void **state)
{
	char request[16384];

	(void)state;
	assert_int_equal(GET("/"), 404);
	assert_int_equal(GET("/metrics/../etc/passwd"), 404);
	assert_int_equal(ask("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: "
			     "0\r\nConnection: close\r\n\r\n"),
		405);
	assert_int_equal(
		ask("DELETE /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), 405);
	assert_int_not_equal(ask("nonsense\r\n\r\n"), 200);
	memset(request, 'a', sizeof(request));
	memcpy(request, "GET /", 5);
	request[sizeof(request) - 1] = 0;
	assert_int_not_equal(ask(request), 200);
	assert_int_equal(GET("/metrics"), 200);
}

static void idle_connections_leave_room(void **state)
{
	int fd[8];

	(void)state;
	for (int i = 0; i < 8; i++)
		fd[i] = connection();
	usleep(100000);
	for (int i = 0; i < 8; i++)
		close(fd[i]);
	usleep(100000);
	assert_int_equal(GET("/metrics"), 200);
}

static void only_loopback_is_listened_on(void **state)
{
	static const char *const bad[] = { "", ":9464", "9464", "0.0.0.0:9464", "192.0.2.1:9464",
		"[::]:9464", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536",
		"127.0.0.1:-1", "[::1]", "[::1:9464", "localhost:9464 ", "example.org:9464",
		"127.0.0.1:9464:1",
		"1111111111111111111111111111111111111111111111111111111111111111111:1" };
	char error[256];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		error[0] = 0;
		if (metrics_start(NULL, NULL, bad[i], error, sizeof(error)))
			fail_msg("'%s' was taken", bad[i]);
		assert_non_null(strstr(error, "loopback"));
	}
	/* taken already: told, with the address */
	assert_null(metrics_start(NULL, NULL, address, error, sizeof(error)));
	assert_non_null(strstr(error, address));
}

static void promtool_has_nothing_to_say(void **state)
{
	char path[] = "/tmp/semantos-metrics-XXXXXX", command[256], said[4096];
	int fd, status;
	FILE *file;
	size_t n;

	(void)state;
	if (system("command -v promtool >/dev/null 2>&1") != 0) {
		print_message("skipped: promtool is not installed; it is in Debian's package "
			      "prometheus\n");
		skip();
	}
	assert_int_equal(GET("/metrics"), 200);
	fd = mkstemp(path);
	assert_true(fd >= 0);
	/* chunks of the transfer are lines of hexadecimal digits: none, because the length is told */
	assert_int_equal(write(fd, reply, strlen(reply)), (ssize_t)strlen(reply));
	close(fd);
	snprintf(command, sizeof(command), "promtool check metrics <%s 2>&1", path);
	file = popen(command, "r");
	assert_non_null(file);
	n = fread(said, 1, sizeof(said) - 1, file);
	said[n] = 0;
	status = pclose(file);
	unlink(path);
	if (status || n)
		fail_msg("promtool: %s", said);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_is_given),
		cmocka_unit_test(other_requests_are_refused),
		cmocka_unit_test(idle_connections_leave_room),
		cmocka_unit_test(only_loopback_is_listened_on),
		cmocka_unit_test(promtool_has_nothing_to_say),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
