// SPDX-License-Identifier: Apache-2.0
// Reading the configuration; see config.h.
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/jpath.h"
#include "base/own.h"

#define CONFIG_MAX (1u << 20)
#define MEMORY_MIB_MIN 32
#define MEMORY_MIB_MAX (1 << 20)
#define VCPUS_MAX 32
#define CMDLINE_MAX 1024

static int bad(struct err *e, const char *field, const char *right)
{
	return err_set(e, EINVAL, "configuration: \"%s\" must be %s", field, right);
}

static int read_number(const json_t *o, const char *field, long long min, long long max, long long *out, struct err *e)
{
	json_t *v = json_object_get(o, field);
	if (!json_is_integer(v) || json_integer_value(v) < min || json_integer_value(v) > max)
		return err_set(e, EINVAL, "configuration: \"%s\" must be a number from %lld to %lld", field, min, max);
	*out = json_integer_value(v);
	return 0;
}

// Text without control characters, so that it can stand in a command line or a log.
static int read_text(const json_t *o, const char *field, size_t max, char **out, struct err *e)
{
	json_t *v = json_object_get(o, field);
	size_t len = json_string_length(v);
	if (!json_is_string(v) || len > max)
		return err_set(e, EINVAL, "configuration: \"%s\" must be a text of at most %zu bytes", field, max);
	const char *s = json_string_value(v);
	for (size_t i = 0; i < len; i++) {
		if (iscntrl((unsigned char)s[i]))
			return bad(e, field, "a text without control characters");
	}
	*out = strdup(s);
	return *out ? 0 : err_set(e, ENOMEM, "no memory");
}

enum fd_kind { FD_ANY, FD_FILE, FD_STREAM_LISTENER, FD_SEQPACKET_LISTENER, FD_USERFAULT };

static bool fd_is(int fd, enum fd_kind kind)
{
	struct stat st;
	int type = 0, listening = 0;
	socklen_t len = sizeof(int);
	switch (kind) {
	case FD_ANY:
		return fcntl(fd, F_GETFD) >= 0;
	case FD_FILE:
		return !fstat(fd, &st) && S_ISREG(st.st_mode);
	case FD_USERFAULT:
		return !fstat(fd, &st) && S_ISCHR(st.st_mode);
	default:
		if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len))
			return false;
		len = sizeof(int);
		getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len);
		return listening && type == (kind == FD_STREAM_LISTENER ? SOCK_STREAM : SOCK_SEQPACKET);
	}
}

static int read_fd(const json_t *o, const char *field, enum fd_kind kind, int *out, struct err *e)
{
	static const char *const names[] = {
		"an open descriptor", "the descriptor of a file", "a listening SOCK_STREAM socket",
		"a listening SOCK_SEQPACKET socket", "an open /dev/userfaultfd",
	};
	json_t *v = json_object_get(o, field);
	long long n = json_integer_value(v);
	if (!json_is_integer(v) || n < 3 || n > 1 << 20 || !fd_is((int)n, kind))
		return bad(e, field, names[kind]);
	*out = (int)n;
	return 0;
}

static int read_disk(const json_t *o, struct vmx_config *c, struct err *e)
{
	own_free char *serial = NULL;
	if (c->ndisks == DISKS_MAX)
		return err_set(e, EINVAL, "configuration: a VM can have %d disks, and has them", DISKS_MAX);
	struct vmx_disk_config *d = &c->disk[c->ndisks];
	int rc = read_text(o, "serial", sizeof(d->serial) - 1, &serial, e);
	if (!rc && !*serial)
		rc = bad(e, "serial", "a text of 1 to 20 bytes");
	if (!rc)
		rc = read_text(o, "path", 4095, &d->path, e);
	if (rc)
		return rc;
	c->ndisks++;
	strcpy(d->serial, serial);
	d->read_only = json_is_true(json_object_get(o, "read_only"));
	for (unsigned i = 0; i + 1 < c->ndisks; i++) {
		if (!strcmp(c->disk[i].serial, d->serial))
			return err_set(e, EINVAL, "configuration: two disks have the serial \"%s\"", serial);
	}
	return 0;
}

static bool is_mac(const char *s)
{
	for (int i = 0; i < 17; i++) {
		if (i % 3 == 2 ? s[i] != ':' : !isxdigit((unsigned char)s[i]))
			return false;
	}
	return s[17] == '\0';
}

// The TAP's further queues.
static int read_queues(const json_t *o, struct vmx_net_config *n, struct err *e)
{
	json_t *list = json_object_get(o, "queue_fds"), *item;
	size_t i;
	n->ntaps = 1;
	if (list && (!json_is_array(list) || json_array_size(list) >= NET_PAIRS_MAX))
		return err_set(e, EINVAL, "configuration: \"queue_fds\" must be a list of at most %u", NET_PAIRS_MAX - 1);
	json_array_foreach(list, i, item) {
		json_t *one = json_pack("{s:O}", "queue_fds", item);
		int rc = one ? read_fd(one, "queue_fds", FD_ANY, &n->tap_fd[n->ntaps], e) : err_set(e, ENOMEM, "no memory");
		json_decref(one);
		if (rc)
			return rc;
		n->ntaps++;
	}
	return 0;
}

static int read_net(const json_t *o, struct vmx_config *c, struct err *e)
{
	struct vmx_net_config *n = &c->net[c->nnets];
	const char *mac = jpath_str(o, "mac", "");
	int rc = read_fd(o, "tap_fd", FD_ANY, &n->tap_fd[0], e);
	if (!rc)
		rc = read_queues(o, n, e);
	if (rc)
		return rc;
	if (strlen(mac) != 17 || !is_mac(mac))
		return bad(e, "mac", "an address like 02:00:00:00:00:01");
	strcpy(n->mac, mac);
	n->vnet_hdr = json_is_true(json_object_get(o, "vnet_hdr"));
	c->nnets++;
	return 0;
}

static int read_list(const json_t *o, const char *field, unsigned max, struct vmx_config *c,
		     int (*one)(const json_t *o, struct vmx_config *c, struct err *e), struct err *e)
{
	json_t *list = json_object_get(o, field), *item;
	size_t i;
	if (!list)
		return 0;
	if (!json_is_array(list) || json_array_size(list) > max)
		return err_set(e, EINVAL, "configuration: \"%s\" must be a list of at most %u", field, max);
	json_array_foreach(list, i, item) {
		int rc = one(item, c, e);
		if (rc) {
			err_wrap(e, "%s[%zu]", field, i);
			return rc;
		}
	}
	return 0;
}

static int read_scalars(const json_t *o, struct vmx_config *c, struct err *e)
{
	long long version, vcpus, memory, console = 1 << 20, uid = 0, gid = 0;
	int rc;
	if ((rc = read_number(o, "version", 1, 1, &version, e)) ||
	    (rc = read_text(o, "id", 64, &c->id, e)) || (rc = read_text(o, "name", 512, &c->name, e)) ||
	    (rc = read_text(o, "engine", 8, &c->engine, e)) ||
	    (rc = read_text(o, "cmdline", CMDLINE_MAX, &c->cmdline, e)) ||
	    (rc = read_number(o, "vcpus", 1, VCPUS_MAX, &vcpus, e)) ||
	    (rc = read_number(o, "memory_mib", MEMORY_MIB_MIN, MEMORY_MIB_MAX, &memory, e)) ||
	    (json_object_get(o, "metrics_dir") && (rc = read_text(o, "metrics_dir", 4000, &c->metrics_dir, e))) ||
	    (json_object_get(o, "console_max_bytes") &&
	     (rc = read_number(o, "console_max_bytes", 0, 1ll << 40, &console, e))) ||
	    (json_object_get(o, "uid") && (rc = read_number(o, "uid", 0, UINT32_MAX - 1, &uid, e))) ||
	    (json_object_get(o, "gid") && (rc = read_number(o, "gid", 0, UINT32_MAX - 1, &gid, e))))
		return rc;
	if (uid && !gid)
		return bad(e, "gid", "given with a uid, and not 0");
	if (json_object_get(o, "cpu_model") && (rc = read_text(o, "cpu_model", 32, &c->cpu_model, e)))
		return rc;
	c->template = json_is_true(json_object_get(o, "template"));
	c->waiting = json_is_true(json_object_get(o, "waiting"));
	c->vcpus = (unsigned)vcpus;
	c->memory_mib = (unsigned)memory;
	c->console_max_bytes = (uint64_t)console;
	c->uid = (uid_t)uid;
	c->gid = (gid_t)gid;
	return 0;
}

// A saved VM: both files, or neither.
static int read_restore(const json_t *o, struct vmx_config *c, struct err *e)
{
	bool state = json_object_get(o, "restore_state_fd"), memory = json_object_get(o, "restore_memory_fd");
	c->restore_state_fd = c->restore_memory_fd = -1;
	if (state != memory)
		return bad(e, state ? "restore_memory_fd" : "restore_state_fd", "given, too");
	int rc = state ? read_fd(o, "restore_state_fd", FD_FILE, &c->restore_state_fd, e) : 0;
	return rc || !memory ? rc : read_fd(o, "restore_memory_fd", FD_FILE, &c->restore_memory_fd, e);
}

static int read_paging(const json_t *o, struct vmx_config *c, struct err *e)
{
	json_t *paged = json_object_get(o, "paged");
	c->userfault_fd = -1;
	if (paged && !json_is_boolean(paged))
		return bad(e, "paged", "true or false");
	c->paged = json_is_true(paged);
	return json_object_get(o, "userfault_fd") ? read_fd(o, "userfault_fd", FD_USERFAULT, &c->userfault_fd, e) : 0;
}

static int config_parse(const json_t *o, struct vmx_config *c, struct err *e)
{
	int rc;
	if ((rc = read_scalars(o, c, e)) ||
	    (rc = read_fd(o, "kernel_fd", FD_FILE, &c->kernel_fd, e)) ||
	    (rc = read_fd(o, "initrd_fd", FD_FILE, &c->initrd_fd, e)) ||
	    (rc = read_fd(o, "control_fd", FD_SEQPACKET_LISTENER, &c->control_fd, e)) ||
	    (rc = read_fd(o, "vsock_fd", FD_STREAM_LISTENER, &c->vsock_fd, e)) ||
	    (rc = read_fd(o, "console_fd", FD_ANY, &c->console_fd, e)) ||
	    (rc = read_restore(o, c, e)) || (rc = read_paging(o, c, e)) || (rc = read_list(o, "disks", DISKS_MAX, c, read_disk, e)) ||
	    (rc = read_list(o, "nets", NETS_MAX, c, read_net, e)))
		return rc;
	if (c->waiting && (c->restore_state_fd < 0 || c->nnets))
		return bad(e, "waiting", "said of a saved VM only, without nets");
	return 0;
}

static int read_all(int fd, struct buf *out, struct err *e)
{
	lseek(fd, 0, SEEK_SET);   // a memfd is where its writer left it; a pipe does not mind
	for (;;) {
		if (buf_reserve(out, 4096))
			return err_set(e, ENOMEM, "no memory");
		ssize_t n = read(fd, out->data + out->len, 4096);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, errno, "read the configuration from descriptor %d", fd);
		if (!n)
			return 0;
		out->len += (size_t)n;
		if (out->len > CONFIG_MAX)
			return err_set(e, EFBIG, "the configuration is longer than %u bytes", CONFIG_MAX);
	}
}

int vmx_config_read(int fd, struct vmx_config **out, int *ready_fd, struct err *e)
{
	*ready_fd = -1;
	own_buf struct buf text = BUF_INIT;
	int rc = read_all(fd, &text, e);
	if (rc)
		return rc;
	json_error_t je;
	own_json json_t *o = json_loadb(text.data, text.len, 0, &je);
	if (!json_is_object(o))
		return err_set(e, EINVAL, "the configuration is not a JSON object: %s (line %d)", je.text, je.line);
	rc = read_fd(o, "ready_fd", FD_ANY, ready_fd, e);
	if (rc)
		return rc;
	struct vmx_config *c = calloc(1, sizeof(*c));
	if (!c)
		return err_set(e, ENOMEM, "no memory");
	c->ready_fd = *ready_fd;
	rc = config_parse(o, c, e);
	if (rc) {
		vmx_config_free(c);
		return rc;
	}
	*out = c;
	return 0;
}

// ---- what a VM that waited gets

// In a plug, a descriptor is named by its place in the message. -1: not one of them.
static int placed_fd(const json_t *o, const char *field, const int *fds, size_t nfds)
{
	json_t *v = json_object_get(o, field);
	json_int_t n = json_integer_value(v);
	return json_is_integer(v) && n > 0 && (size_t)n < nfds ? fds[n] : -1;
}

// From its place to the descriptor. Not 0: it is none of them.
static int plug_fd(json_t *o, const char *field, const int *fds, size_t nfds)
{
	int fd = placed_fd(o, field, fds, nfds);
	return fd < 0 || json_object_set_new(o, field, json_integer(fd));
}

static int plug_nets(json_t *o, const int *fds, size_t nfds, struct err *e)
{
	json_t *net;
	size_t i;
	json_array_foreach(json_object_get(o, "nets"), i, net) {
		json_t *queues = json_object_get(net, "queue_fds"), *queue;
		size_t k;
		if (plug_fd(net, "tap_fd", fds, nfds))
			return bad(e, "tap_fd", "the number of a descriptor of this message");
		json_array_foreach(queues, k, queue) {
			own_json json_t *one = json_pack("{s:O}", "queue_fds", queue);
			if (plug_fd(one, "queue_fds", fds, nfds) || json_array_set(queues, k, json_object_get(one, "queue_fds")))
				return bad(e, "queue_fds", "numbers of descriptors of this message");
		}
	}
	return 0;
}

static int plug_files(const json_t *o, const int *fds, size_t nfds, struct vmx_file *files, unsigned *nfiles, struct err *e)
{
	json_t *list = json_object_get(o, "files"), *file;
	size_t i;
	json_array_foreach(list, i, file) {
		int fd = placed_fd(file, "fd", fds, nfds);
		if (fd < 0 || i == nfds)
			return bad(e, "fd", "the number of a descriptor of this message");
		int rc = read_text(file, "path", 4095, &files[i].path, e);
		if (rc)
			return rc;
		files[i].fd = fd;
		files[i].given = false;
		*nfiles = (unsigned)i + 1;
	}
	return 0;
}

int vmx_config_plug(struct vmx_config *c, const int *fds, size_t nfds, struct vmx_file *files, unsigned *nfiles, struct err *e)
{
	own_buf struct buf text = BUF_INIT;
	char *name = NULL;
	json_error_t je;
	*nfiles = 0;
	int rc = nfds ? read_all(fds[0], &text, e) : err_set(e, EINVAL, "no descriptor says what is plugged");
	if (rc)
		return rc;
	own_json json_t *o = json_loadb(text.data, text.len, 0, &je);
	if (!json_is_object(o))
		return err_set(e, EINVAL, "what is plugged is not a JSON object: %s (line %d)", je.text, je.line);
	if ((rc = read_text(o, "name", 512, &name, e)) || (rc = plug_files(o, fds, nfds, files, nfiles, e)) ||
	    (rc = plug_nets(o, fds, nfds, e)) || (rc = read_list(o, "disks", DISKS_MAX, c, read_disk, e)) ||
	    (rc = read_list(o, "nets", SLOT_REHEARSAL - SLOT_NET, c, read_net, e))) {
		free(name);
		return rc;
	}
	free(c->name);
	c->name = name;
	return 0;
}

void vmx_config_free(struct vmx_config *c)
{
	if (!c)
		return;
	for (unsigned i = 0; i < DISKS_MAX; i++)
		free(c->disk[i].path);
	free(c->id);
	free(c->name);
	free(c->cmdline);
	free(c->engine);
	free(c->metrics_dir);
	free(c->cpu_model);
	free(c);
}
