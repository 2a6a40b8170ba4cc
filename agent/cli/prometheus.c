/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prometheus.c - asks through libcurl, reads the answer with jansson; both with bounds.
 *
 * The answer is another program's text: nothing of it is believed but one number, and of an error one short sentence.
 */
#include "agent/cli/prometheus.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define URL_MAX 512
#define PATH "/api/v1/query"
#define SHOWN 120 /* bytes of the server's own words, in a sentence */

struct answer {
	char *bytes;
	size_t n;
	int too_long;
};

static __attribute__((format(printf, 4, 5))) int wrong(
	int err, char *why, size_t why_len, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(why, why_len, fmt, args);
	va_end(args);
	for (char *p = why; why_len > 0 && *p; p++) {
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	}
	return err;
}

int prometheus_url(const char *url, char *why, size_t why_len)
{
	size_t scheme = strncmp(url, "https://", 8) == 0  ? 8
			: strncmp(url, "http://", 7) == 0 ? 7
							  : 0;

	if (!scheme || !url[scheme] || url[scheme] == '/')
		return wrong(-EINVAL, why, why_len,
			"\"%.60s\" is no URL of a Prometheus server, e.g. " PROMETHEUS_URL, url);
	if (strlen(url) > URL_MAX - sizeof(PATH))
		return wrong(-EINVAL, why, why_len, "The URL of Prometheus has more than %zu bytes",
			URL_MAX - sizeof(PATH));
	if (strpbrk(url, "?#@ "))
		return wrong(-EINVAL, why, why_len,
			"The URL of Prometheus holds no query and no password: write it as "
			"e.g. " PROMETHEUS_URL);
	return 0;
}

/* [TIME, "NUMBER"] */
static int sample(json_t *pair, double *value, char *why, size_t why_len)
{
	const char *text = json_string_value(json_array_get(pair, 1));
	char *end = NULL;

	if (text && *text && !isspace((unsigned char)*text)) {
		*value = strtod(text, &end);
		if (*end == '\0' && isfinite(*value))
			return 0;
		if (*end == '\0')
			return wrong(-EINVAL, why, why_len,
				"Prometheus answers %.20s, which is no number to compare", text);
	}
	return wrong(-EINVAL, why, why_len, "Prometheus answers something else than a number");
}

static int result_of(json_t *data, double *value, char *why, size_t why_len)
{
	const char *type = json_string_value(json_object_get(data, "resultType"));
	json_t *result = json_object_get(data, "result");

	if (type && strcmp(type, "scalar") == 0)
		return sample(result, value, why, why_len);
	if (!type || strcmp(type, "vector") != 0)
		return wrong(-EINVAL, why, why_len,
			"The query gives a %.20s and not one number: take e.g. an instant vector "
			"with "
			"one row",
			type ? type : "nameless thing");
	if (json_array_size(result) == 0)
		return wrong(-EINVAL, why, why_len,
			"The query gives no row: Prometheus has no such series now");
	if (json_array_size(result) > 1)
		return wrong(-EINVAL, why, why_len,
			"The query gives %zu rows and not one: add e.g. sum(), max() or a label",
			json_array_size(result));
	return sample(json_object_get(json_array_get(result, 0), "value"), value, why, why_len);
}

int prometheus_answer(
	long status, const char *body, size_t len, double *value, char *why, size_t why_len)
{
	json_t *all = json_loadb(body, len, JSON_DECODE_INT_AS_REAL, NULL);
	const char *word = json_string_value(json_object_get(all, "status"));
	const char *error = json_string_value(json_object_get(all, "error"));
	int ret;

	if (word && strcmp(word, "success") == 0 && status == 200)
		ret = result_of(json_object_get(all, "data"), value, why, why_len);
	else if (error)
		ret = wrong(
			-EINVAL, why, why_len, "Prometheus refuses the query: %.*s", SHOWN, error);
	else if (status >= 300 && status < 400)
		ret = wrong(-EINVAL, why, why_len,
			"The server sends elsewhere (HTTP %ld), which is not followed: name the "
			"URL that "
			"answers",
			status);
	else
		ret = wrong(-EINVAL, why, why_len,
			"What answers is no Prometheus (HTTP %ld): check --prometheus", status);
	json_decref(all);
	return ret;
}

static size_t take(char *bytes, size_t size, size_t n, void *ctx)
{
	struct answer *answer = ctx;

	n *= size;
	if (n > PROMETHEUS_ANSWER_MAX - answer->n) {
		answer->too_long = 1;
		return 0; /* ends the transfer */
	}
	memcpy(answer->bytes + answer->n, bytes, n);
	answer->n += n;
	return n;
}

/* Everything that bounds the transfer. */
static void set(
	CURL *curl, const char *url, const char *form, uint32_t timeout_ms, struct answer *answer)
{
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, form); /* a query may be longer than a URL */
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(curl, CURLOPT_PROXY, ""); /* whatever the environment says */
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)timeout_ms);
	curl_easy_setopt(curl, CURLOPT_MAXFILESIZE, (long)PROMETHEUS_ANSWER_MAX);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "semantosctl/" SEMANTOS_VERSION);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
}

int prometheus_query(const char *url, const char *query, uint32_t timeout_ms, double *value,
	char *why, size_t why_len)
{
	char full[URL_MAX], *word = NULL, *form = NULL;
	size_t url_len = strlen(url);
	struct answer answer = { 0 };
	CURL *curl = NULL;
	long status = 0;
	CURLcode code;
	int ret;

	ret = prometheus_url(url, why, why_len);
	if (ret)
		return ret;
	while (url_len > 0 && url[url_len - 1] == '/')
		url_len--;
	snprintf(full, sizeof(full), "%.*s" PATH, (int)url_len, url);
	answer.bytes = malloc(PROMETHEUS_ANSWER_MAX);
	curl = curl_easy_init();
	word = curl ? curl_easy_escape(curl, query, 0) : NULL;
	if (!answer.bytes || !word || asprintf(&form, "query=%s", word) < 0) {
		form = NULL;
		ret = wrong(-EIO, why, why_len, "There is no memory left to ask Prometheus");
		goto out;
	}
	set(curl, full, form, timeout_ms, &answer);
	code = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	if (answer.too_long || code == CURLE_FILESIZE_EXCEEDED)
		ret = wrong(-EINVAL, why, why_len,
			"Prometheus answers more than %d KiB: take a query that gives one row",
			PROMETHEUS_ANSWER_MAX >> 10);
	else if (code == CURLE_OPERATION_TIMEDOUT)
		ret = wrong(-ETIMEDOUT, why, why_len, "Prometheus did not answer within %g s",
			timeout_ms / 1000.0);
	else if (code != CURLE_OK)
		ret = wrong(-EIO, why, why_len, "Prometheus cannot be asked at %.100s: %.60s", url,
			curl_easy_strerror(code));
	else
		ret = prometheus_answer(status, answer.bytes, answer.n, value, why, why_len);
out:
	free(form);
	curl_free(word);
	curl_easy_cleanup(curl);
	free(answer.bytes);
	return ret;
}
