/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handlers.c - what each method does: check the role, unpack, ask agent/core/control.h, answer.
 *
 * The bytes come from another process: they are unpacked within a budget (unpack.h), whatever they say.
 * Runs on the lane's threads; may block for as long as control.h does.
 */
#include "agent/api/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "agent/api/unpack.h"
#include "agent/core/capture.h"
#include "agent/proto/semantos.pb-c.h"

#define PACKAGE "/semantos.v1."
#define CAPTURE_MAX_SECONDS 86400
#define MAX_KNOBS 9 /* one more than a change may have */
#define READER_PAUSE_US 5000 /* 200 views a second at most: readers cannot keep the loop busy */

grpc_status_code status_of_errno(int error)
{
	switch (-error) {
	case 0:
		return GRPC_STATUS_OK;
	case ENOENT:
	case ENODEV:
		return GRPC_STATUS_NOT_FOUND;
	case EEXIST:
	case EALREADY:
		return GRPC_STATUS_ALREADY_EXISTS;
	case EINVAL:
	case EBADMSG:
	case ENOEXEC:
	case EPROTO:
	case ERANGE:
	case E2BIG:
	case EKEYREJECTED: /* a policy in quarantine */
		return GRPC_STATUS_INVALID_ARGUMENT;
	case ETIMEDOUT:
		return GRPC_STATUS_DEADLINE_EXCEEDED;
	case ENOMEM:
	case ENOSPC:
	case EMFILE:
	case ENFILE:
		return GRPC_STATUS_RESOURCE_EXHAUSTED;
	case ESHUTDOWN:
	case ECANCELED:
		return GRPC_STATUS_UNAVAILABLE;
	case EAGAIN:
	case EROFS:
	case ESTALE:
	case EBUSY:
	case EPERM:
	case EACCES:
	case EOPNOTSUPP:
	case ENOSYS:
		return GRPC_STATUS_FAILED_PRECONDITION;
	default:
		return GRPC_STATUS_INTERNAL;
	}
}

static void refuse(struct api_call *call, grpc_status_code code, const char *text)
{
	call_answer(call, code, text, grpc_empty_slice(), false);
}

bool request_open(struct unpacked *request, struct api_call *call,
	const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t n)
{
	char text[160];

	if (unpack(request, type, bytes, n))
		return true;
	snprintf(text, sizeof(text),
		"The %zu bytes of the request are no %s: client and agent do not fit together.", n,
		type->short_name);
	refuse(call, GRPC_STATUS_INVALID_ARGUMENT, text);
	return false;
}

void reader_pause(const struct api_call *call)
{
	if (call->port->role < API_OPERATOR)
		usleep(READER_PAUSE_US);
}

/* ---- answers ---- */

void answer_done(struct api_call *call, struct control_reply *reply)
{
	Semantos__V1__Done done = SEMANTOS__V1__DONE__INIT;
	grpc_slice message;

	reply->text[sizeof(reply->text) - 1] = '\0';
	if (reply->error) {
		refuse(call, status_of_errno(reply->error), reply->text);
		return;
	}
	done.text = reply->text;
	done.change = reply->change;
	message = grpc_slice_malloc(semantos__v1__done__get_packed_size(&done));
	semantos__v1__done__pack(&done, GRPC_SLICE_START_PTR(message));
	call_answer(call, GRPC_STATUS_OK, "", message, true);
	grpc_slice_unref(message);
}

/* ---- methods ---- */

typedef void method_fn(struct api_call *call, const uint8_t *bytes, size_t n);

static void do_status(struct api_call *call, const uint8_t *bytes, size_t n)
{
	struct agent_view view = { 0 };
	Semantos__V1__StatusRequest *ask;
	struct unpacked request;
	grpc_slice message;
	char text[160];
	int err;

	if (!request_open(&request, call, &semantos__v1__status_request__descriptor, bytes, n))
		return;
	ask = (Semantos__V1__StatusRequest *)request.message;
	err = control_view(call->port->owner->core, ask->policy[0] ? ask->policy : NULL, &view);
	if (err == -ENOENT)
		snprintf(text, sizeof(text),
			"No policy named %.40s is attached: see `semantosctl list`.", ask->policy);
	else if (err == -ETIMEDOUT)
		snprintf(text, sizeof(text),
			"The agent's loop did not answer within %d s; try again, and see its log.",
			CONTROL_WAIT_MS / 1000);
	else if (err)
		snprintf(text, sizeof(text), "The agent cannot describe itself: %s.",
			strerror(-err));
	unpack_free(&request);
	reader_pause(call);
	if (err) {
		refuse(call, status_of_errno(err), text);
		return;
	}
	if (view_encode(&view, &message)) {
		call_answer(call, GRPC_STATUS_OK, "", message, true);
		grpc_slice_unref(message);
	} else {
		refuse(call, GRPC_STATUS_RESOURCE_EXHAUSTED, "The agent has no memory left.");
	}
	control_view_free(&view);
}

static void do_attach(struct api_call *call, const uint8_t *bytes, size_t n)
{
	struct control_reply reply = { 0 };
	Semantos__V1__AttachRequest *ask;
	struct unpacked request;

	if (!request_open(&request, call, &semantos__v1__attach_request__descriptor, bytes, n))
		return;
	ask = (Semantos__V1__AttachRequest *)request.message;
	control_attach(
		call->port->owner->core, ask->policy, ask->mode[0] ? ask->mode : NULL, &reply);
	unpack_free(&request);
	answer_done(call, &reply);
}

static void do_detach(struct api_call *call, const uint8_t *bytes, size_t n)
{
	struct control_reply reply = { 0 };
	struct unpacked request;

	if (!request_open(&request, call, &semantos__v1__detach_request__descriptor, bytes, n))
		return;
	control_detach(call->port->owner->core,
		((Semantos__V1__DetachRequest *)request.message)->policy, &reply);
	unpack_free(&request);
	answer_done(call, &reply);
}

static void do_mode(struct api_call *call, const uint8_t *bytes, size_t n)
{
	struct control_reply reply = { 0 };
	Semantos__V1__ModeRequest *ask;
	struct unpacked request;

	if (!request_open(&request, call, &semantos__v1__mode_request__descriptor, bytes, n))
		return;
	ask = (Semantos__V1__ModeRequest *)request.message;
	control_mode(call->port->owner->core, ask->policy, ask->mode, &reply);
	unpack_free(&request);
	answer_done(call, &reply);
}

static void do_model(struct api_call *call, const uint8_t *bytes, size_t n)
{
	struct control_reply reply = { 0 };
	Semantos__V1__UseModelRequest *ask;
	struct unpacked request;

	if (!request_open(&request, call, &semantos__v1__use_model_request__descriptor, bytes, n))
		return;
	ask = (Semantos__V1__UseModelRequest *)request.message;
	control_model_use(call->port->owner->core, ask->policy, ask->device, ask->model.data,
		ask->model.len, &reply);
	unpack_free(&request);
	answer_done(call, &reply);
}

static void do_apply(struct api_call *call, const uint8_t *bytes, size_t n)
{
	struct control_reply reply = { 0 };
	struct control_knob knob[MAX_KNOBS];
	struct control_change change;
	Semantos__V1__ApplyRequest *ask;
	struct unpacked request;

	if (!request_open(&request, call, &semantos__v1__apply_request__descriptor, bytes, n))
		return;
	ask = (Semantos__V1__ApplyRequest *)request.message;
	/* one more than is allowed is refused there, in a sentence */
	for (size_t i = 0; i < ask->n_knobs && i < MAX_KNOBS; i++)
		knob[i] = (struct control_knob){ ask->knobs[i]->name, ask->knobs[i]->value };
	change = (struct control_change){ .knob = knob,
		.n = ask->n_knobs < MAX_KNOBS ? ask->n_knobs : MAX_KNOBS,
		.mode = ask->mode,
		.because = ask->because,
		.evidence = ask->evidence,
		.expected = ask->expected,
		.policy = ask->policy };
	control_apply(call->port->owner->core, &change, &reply);
	unpack_free(&request);
	answer_done(call, &reply);
}

static void do_rollback(struct api_call *call, const uint8_t *bytes, size_t n)
{
	struct control_reply reply = { 0 };
	Semantos__V1__RollbackRequest *ask;
	struct unpacked request;

	if (!request_open(&request, call, &semantos__v1__rollback_request__descriptor, bytes, n))
		return;
	ask = (Semantos__V1__RollbackRequest *)request.message;
	control_rollback(call->port->owner->core, ask->change, ask->because, ask->observed, &reply);
	unpack_free(&request);
	answer_done(call, &reply);
}

static void do_keep(struct api_call *call, const uint8_t *bytes, size_t n)
{
	struct control_reply reply = { 0 };
	Semantos__V1__KeepRequest *ask;
	struct unpacked request;

	if (!request_open(&request, call, &semantos__v1__keep_request__descriptor, bytes, n))
		return;
	ask = (Semantos__V1__KeepRequest *)request.message;
	control_keep(call->port->owner->core, ask->change, ask->observed, &reply);
	unpack_free(&request);
	answer_done(call, &reply);
}

static void do_unquarantine(struct api_call *call, const uint8_t *bytes, size_t n)
{
	struct control_reply reply = { 0 };
	struct unpacked request;

	if (!request_open(
		    &request, call, &semantos__v1__unquarantine_request__descriptor, bytes, n))
		return;
	control_unquarantine(call->port->owner->core,
		((Semantos__V1__UnquarantineRequest *)request.message)->policy, &reply);
	unpack_free(&request);
	answer_done(call, &reply);
}

static void do_shutdown(struct api_call *call, const uint8_t *bytes, size_t n)
{
	struct control_reply reply = { 0 };
	struct unpacked request;
	bool upgrade;

	if (!request_open(&request, call, &semantos__v1__shutdown_request__descriptor, bytes, n))
		return;
	upgrade = ((Semantos__V1__ShutdownRequest *)request.message)->upgrade;
	unpack_free(&request);
	control_shutdown(call->port->owner->core, upgrade, &reply);
	answer_done(call, &reply);
}

static void do_capture(struct api_call *call, const uint8_t *bytes, size_t n)
{
	Semantos__V1__CaptureRequest *ask;
	struct unpacked request;

	if (!request_open(&request, call, &semantos__v1__capture_request__descriptor, bytes, n))
		return;
	ask = (Semantos__V1__CaptureRequest *)request.message;
	if (ask->rows == 0 || ask->rows > CAPTURE_MAX_ROWS || ask->seconds == 0 ||
		ask->seconds > CAPTURE_MAX_SECONDS)
		refuse(call, GRPC_STATUS_INVALID_ARGUMENT,
			"A capture takes 1 to 50,000,000 rows and 1 to 86,400 seconds.");
	else
		capture_stream_start(call, ask->policy, ask->device, ask->rows, ask->seconds);
	unpack_free(&request);
}

/* Who may call it: one bit a role. */
enum {
	FOR_ROOT = 1 << API_ROOT,
	CHANGE = FOR_ROOT | 1 << API_OPERATOR,
	LOOK = CHANGE | 1 << API_READER,
	ADVISE = 1 << API_ADVISOR,
};

static const struct method {
	const char *name; /* service and method */
	unsigned int roles;
	method_fn *run;
} methods[] = {
	{ "Agent/GetStatus", LOOK, do_status },
	{ "Agent/Capture", LOOK, do_capture },
	{ "Agent/Attach", CHANGE, do_attach },
	{ "Agent/Detach", CHANGE, do_detach },
	{ "Agent/SetMode", CHANGE, do_mode },
	{ "Agent/UseModel", CHANGE, do_model },
	{ "Agent/Apply", CHANGE, do_apply },
	{ "Agent/Rollback", CHANGE, do_rollback },
	{ "Agent/Keep", CHANGE, do_keep },
	{ "Agent/Unquarantine", CHANGE, do_unquarantine },
	{ "Agent/Shutdown", FOR_ROOT, do_shutdown },
	{ "TelemetryAgent/Snapshot", LOOK | ADVISE, telemetry_snapshot },
	{ "TelemetryAgent/Stream", LOOK | ADVISE, telemetry_stream_start },
	{ "TelemetryAgent/History", LOOK | ADVISE, telemetry_history_of },
	{ "Operator/Recommend", LOOK, tune_call_recommend },
	{ "Operator/Tune", CHANGE, tune_stream_tune },
	{ "Operator/Report", CHANGE, tune_call_report },
	{ "Operator/Approve", CHANGE, tune_call_approve },
	{ "Operator/Reject", CHANGE, tune_call_reject },
	{ "Operator/Reset", CHANGE, tune_call_reset },
	{ "SafetyRuntime/Watch", CHANGE | ADVISE, tune_stream_watch },
	{ "SafetyRuntime/Propose", CHANGE | ADVISE, tune_call_propose },
};

void handle_denied(struct api_call *call)
{
	refuse(call, GRPC_STATUS_PERMISSION_DENIED,
		"You may not talk to the agent: use sudo, or join group " PEER_READER_GROUP
		" (to look) or " PEER_OPERATOR_GROUP " (to change).");
}

void handle_call(struct api_call *call, const char *method, const uint8_t *bytes, size_t n_bytes)
{
	const char *name = method + strlen(PACKAGE);
	char text[200];

	if (strncmp(method, PACKAGE, strlen(PACKAGE)) != 0)
		goto unknown;
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		if (strcmp(methods[i].name, name) != 0)
			continue;
		if (methods[i].roles & 1U << call->port->role) {
			methods[i].run(call, bytes, n_bytes);
			return;
		}
		snprintf(text, sizeof(text),
			call->port->role == API_ADVISOR
				? "%s is not for the advisor, which proposes and does nothing else."
			: methods[i].roles == FOR_ROOT
				? "%s is for root only: use sudo."
				: "%s is a change and you may only look: use sudo, or join "
				  "group " PEER_OPERATOR_GROUP ".",
			strchr(name, '/') + 1);
		refuse(call, GRPC_STATUS_PERMISSION_DENIED, text);
		return;
	}
unknown:
	snprintf(text, sizeof(text),
		"This agent (" SEMANTOS_VERSION
		") knows no method %.80s: client and agent do not fit together.",
		method);
	refuse(call, GRPC_STATUS_UNIMPLEMENTED, text);
}
