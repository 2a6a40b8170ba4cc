/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_prometheus.c - queries of a Prometheus server: answers as it gives them, and servers that are slow, endless, elsewhere
 * or no Prometheus.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "agent/cli/prometheus.h"

static char why[240], url[64];
static double value;
static pid_t server_pid;

static int answer(long status, const char *body)
{
	why[0] = '\0';
	value = NAN;
	return prometheus_answer(status, body, strlen(body), &value, why, sizeof(why));
}

static void assert_why(const char *text)
{
	if (!strstr(why, text))
		fail_msg("\"%s\" does not say \"%s\"", why, text);
	assert_null(strchr(why, '\n'));
}

static void answers(void **state)
{
	(void)state;
	assert_int_equal(answer(200, "{\"status\":\"success\",\"data\":{\"resultType\":\"scalar\","
				     "\"result\":[1,\"2.5\"]}}"),
		0);
	assert_float_equal(value, 2.5, 1e-12);
	assert_int_equal(
		answer(200,
			"{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":"
			"[{\"metric\":{\"a\":\"b\"},\"value\":[1.5,\"-3e-2\"]}]}}"),
		0);
	assert_float_equal(value, -0.03, 1e-12);
	assert_int_equal(answer(200, "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\","
				     "\"result\":[]}}"),
		-EINVAL);
	assert_why("no such series now");
	assert_int_equal(answer(200, "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\","
				     "\"result\":[{},{}]}}"),
		-EINVAL);
	assert_why("2 rows and not one: add e.g. sum()");
	assert_int_equal(answer(200, "{\"status\":\"success\",\"data\":{\"resultType\":\"matrix\","
				     "\"result\":[]}}"),
		-EINVAL);
	assert_why("gives a matrix and not one number");
	assert_int_equal(answer(200, "{\"status\":\"success\",\"data\":{\"resultType\":\"scalar\","
				     "\"result\":[1,\"NaN\"]}}"),
		-EINVAL);
	assert_why("answers NaN, which is no number");
	assert_int_equal(answer(200, "{\"status\":\"success\",\"data\":{\"resultType\":\"scalar\","
				     "\"result\":[1,\"+Inf\"]}}"),
		-EINVAL);
	assert_int_equal(answer(200, "{\"status\":\"success\",\"data\":{\"resultType\":\"scalar\","
				     "\"result\":[1,2.5]}}"),
		-EINVAL);
	assert_why("something else than a number");
	assert_int_equal(answer(200, "{\"status\":\"success\",\"data\":{\"resultType\":\"scalar\","
				     "\"result\":[1,\"2 \"]}}"),
		-EINVAL);
	assert_int_equal(answer(200, "{\"status\":\"success\",\"data\":{\"resultType\":\"scalar\","
				     "\"result\":[1,\"\"]}}"),
		-EINVAL);
	assert_int_equal(answer(200, "{\"status\":\"success\",\"data\":{}}"), -EINVAL);
	assert_int_equal(
		answer(400, "{\"status\":\"error\",\"error\":\"1:3: parse\\nerror\\u001b[2J\"}"),
		-EINVAL);
	assert_why("refuses the query: 1:3: parse?error?[2J");
	assert_int_equal(answer(302, "Found"), -EINVAL);
	assert_why("HTTP 302), which is not followed");
	assert_int_equal(answer(404, "<html>"), -EINVAL);
	assert_why("no Prometheus (HTTP 404)");
	assert_int_equal(answer(500, "{\"status\":\"success\",\"data\":{\"resultType\":\"scalar\","
				     "\"result\":[1,\"2.5\"]}}"),
		-EINVAL);
	assert_int_equal(answer(200, "[1]"), -EINVAL);
	assert_int_equal(answer(200, ""), -EINVAL);
	assert_int_equal(answer(200, "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\","
				     "\"result\":[7]}}"),
		-EINVAL);
}

static void urls(void **state)
{
	static const char *const bad[] = { "", "127.0.0.1:9090", "http://", "http:///x",
		"file:///etc/passwd", "ftp://x", "http://user:secret@host", "http://x/?query=1",
		"http://x/ y" };
	char longest[600];

	(void)state;
	assert_int_equal(prometheus_url(PROMETHEUS_URL, why, sizeof(why)), 0);
	assert_int_equal(prometheus_url("https://prometheus.example/prefix/", why, sizeof(why)), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(prometheus_url(bad[i], why, sizeof(why)), -EINVAL);
	memset(longest, 'x', sizeof(longest));
	memcpy(longest, "http://", 7);
	longest[sizeof(longest) - 1] = '\0';
	assert_int_equal(prometheus_url(longest, why, sizeof(why)), -EINVAL);
	assert_int_equal(prometheus_query("x:", "up", 1000, &value, why, sizeof(why)), -EINVAL);
}

/* ---- a server that does what the query says ---- */

static void reply(int fd, const char *status, const char *head, const char *body)
{
	dprintf(fd, "HTTP/1.1 %s\r\n%sContent-Length: %zu\r\nConnection: close\r\n\r\n%s", status,
		head, strlen(body), body);
}

static void serve_one(int fd)
{
	char request[4096];
	size_t n = 0;
	ssize_t got;

	/* the body comes right behind the head */
	do {
		got = read(fd, request + n, sizeof(request) - 1 - n);
		n += got > 0 ? (size_t)got : 0;
		request[n] = '\0';
	} while (got > 0 && !strstr(request, "query="));
	if (strncmp(request, "POST /pre/api/v1/query HTTP", 27) != 0)
		reply(fd, "404 Not Found", "", "where?");
	else if (strstr(request, "query=up%7Ba%3D%22b%26c%22%7D"))
		reply(fd, "200 OK", "",
			"{\"status\":\"success\",\"data\":{\"resultType\":\"scalar\",\"result\":[1,"
			"\"42\"]}}");
	else if (strstr(request, "query=elsewhere"))
		reply(fd, "307 Moved", "Location: file:///etc/hostname\r\n", "");
	else if (strstr(request, "query=slow"))
		sleep(30);
	else if (strstr(request, "query=endless")) {
		char block[4096];

		memset(block, ' ', sizeof(block));
		dprintf(fd, "HTTP/1.1 200 OK\r\n\r\n");
		while (write(fd, block, sizeof(block)) > 0)
			;
	} else if (strstr(request, "query=huge"))
		dprintf(fd, "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n");
}

static int server_begin(void **state)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) || listen(fd, 8) ||
		getsockname(fd, (struct sockaddr *)&address, &len))
		return -1;
	snprintf(url, sizeof(url), "http://127.0.0.1:%d/pre/", ntohs(address.sin_port));
	fflush(NULL);
	server_pid = fork();
	if (server_pid == 0) {
		signal(SIGPIPE, SIG_IGN);
		signal(SIGCHLD, SIG_IGN);
		for (;;) {
			int client = accept(fd, NULL, NULL);

			if (client >= 0 && fork() == 0) {
				serve_one(client);
				_exit(0);
			}
			close(client);
		}
	}
	close(fd);
	/* a proxy of the environment is not asked */
	setenv("http_proxy", "http://127.0.0.1:1", 1);
	return 0;
}

static int server_end(void **state)
{
	(void)state;
	kill(server_pid, SIGKILL);
	waitpid(server_pid, NULL, 0);
	return 0;
}

static int query(const char *text)
{
	struct timespec begin, now;
	int ret;

	why[0] = '\0';
	clock_gettime(CLOCK_MONOTONIC, &begin);
	ret = prometheus_query(url, text, 1000, &value, why, sizeof(why));
	clock_gettime(CLOCK_MONOTONIC, &now);
	assert_true(now.tv_sec - begin.tv_sec <= 5);
	return ret;
}

static void a_server_is_asked_and_bounded(void **state)
{
	(void)state;
	assert_int_equal(query("up{a=\"b&c\"}"), 0);
	assert_float_equal(value, 42, 1e-12);
	assert_int_equal(query("elsewhere"), -EINVAL);
	assert_why("HTTP 307), which is not followed");
	assert_int_equal(query("slow"), -ETIMEDOUT);
	assert_why("did not answer within 1 s");
	assert_int_equal(query("endless"), -EINVAL);
	assert_why("more than 256 KiB");
	assert_int_equal(query("huge"), -EINVAL);
	assert_why("more than 256 KiB");
	assert_int_equal(query("nothing"), -EIO);
	assert_why("cannot be asked at http://127.0.0.1");
	assert_int_equal(
		prometheus_query("http://127.0.0.1:1", "up", 1000, &value, why, sizeof(why)), -EIO);
	assert_why("cannot be asked at http://127.0.0.1:1: ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers),
		cmocka_unit_test(urls),
		cmocka_unit_test_setup_teardown(
			a_server_is_asked_and_bounded, server_begin, server_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
