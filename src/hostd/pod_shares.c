// SPDX-License-Identifier: Apache-2.0
// Volumes of a pod that are shares in its VM: hostPath, and images that are volumes. docs/security.md says what a hostPath
// gives away.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/jpath.h"
#include "base/own.h"
#include "image.h"
#include "pod.h"
#include "share.h"

/* --- hostPath --- */

static int make_file(const char *path, struct err *e)
{
	own_fd int fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
	return fd < 0 ? err_sys(e, errno, "make %s", path) : 0;
}

/* Is what lies at the path what the pod says, made if it may be? *file: it is a file. */
static int check_host_path(const char *path, const char *type, bool *file, struct err *e)
{
	struct stat st;
	int rc = 0;
	if (*path != '/')
		return err_set(e, EINVAL, "hostPath '%s' is not an absolute path", path);
	if (!strcmp(type, "Socket") || !strcmp(type, "CharDevice"))
		return err_set(e, ENOTSUP, "hostPath type check failed: %s is a %s: what is behind it is in the host's kernel, and the pod has a "
					   "kernel of its own", path, !strcmp(type, "Socket") ? "socket" : "character device");
	bool missing = stat(path, &st) != 0;
	if (missing && (!strcmp(type, "DirectoryOrCreate") || !*type))
		rc = dir_make(path, 0755, e);
	else if (missing && !strcmp(type, "FileOrCreate"))
		rc = make_file(path, e);
	if (rc)
		return rc;
	if (stat(path, &st))
		return err_set(e, ENOENT, "hostPath type check failed: %s does not exist", path);
	*file = S_ISREG(st.st_mode);
	if (!strncmp(type, "Directory", 9) && !S_ISDIR(st.st_mode))
		return err_set(e, ENOTDIR, "hostPath type check failed: %s is not a directory", path);
	if (!strncmp(type, "File", 4) && !S_ISREG(st.st_mode))
		return err_set(e, EINVAL, "hostPath type check failed: %s is not a file", path);
	if (!*file && !S_ISDIR(st.st_mode))
		return err_set(e, ENOTSUP, "hostPath %s is neither a directory nor a file: only these, and BlockDevice, reach into a VM", path);
	return 0;
}

/* Nobody in the pod may write: then the host's side need not be able to. */
static bool all_read_only(const struct pod *p, const char *volume)
{
	static const char *const lists[] = {"spec.initContainers", "spec.containers", "spec.ephemeralContainers"};
	for (size_t l = 0; l < 3; l++) {
		size_t i, k;
		json_t *c, *m;
		json_array_foreach(jpath_get(p->seen, lists[l]), i, c)
			json_array_foreach(json_object_get(c, "volumeMounts"), k, m)
				if (!strcmp(jpath_str(m, "name", ""), volume) && !jpath_bool(m, "readOnly", false))
					return false;
	}
	return true;
}

static int share_host_path(struct pod *p, const char *volume, const json_t *source, struct err *e)
{
	const char *path = jpath_str(source, "path", "");
	bool file;
	int rc = check_host_path(path, jpath_str(source, "type", ""), &file, e);
	return rc ? rc : share_start(p->host->share_path, vm_vsock_path(p->vm), volume, path, all_read_only(p, volume), e);
}

/* --- images --- */

int pod_image_serial(const char *id, char out[20])
{
	const char *colon = strchr(id, ':');
	return snprintf(out, 20, "i-%.16s", colon ? colon + 1 : id);
}

static bool is_boot_disk(const struct pod *p, const char *serial)
{
	for (size_t i = 0; i < p->containers_count; i++)
		if (!strcmp(p->containers[i].image_serial, serial) && !p->containers[i].image_late)
			return true;
	return false;
}

static int share_image_volume(struct pod *p, const char *volume, const json_t *source, struct err *e)
{
	const char *ref = jpath_str(source, "reference", ""), *policy = jpath_str(source, "pullPolicy", "IfNotPresent");
	struct image *img = NULL;
	char serial[20], key[128];
	snprintf(key, sizeof(key), "image/%.63s", volume);
	json_t *held = json_object_get(pod_remembered(p), key);
	if (held && image_find(p->host->images, json_string_value(held), &img, NULL))
		held = NULL;   // removed meanwhile
	int rc = held ? 0 : pod_image_get(p, ref, policy, &img, e);
	if (rc)
		return rc;
	if (!held && !image_hold(p->host->images, img->id))
		json_object_set_new(pod_remembered(p), key, json_string(img->id));
	pod_image_serial(img->id, serial);
	if (!is_boot_disk(p, serial))
		rc = share_image(p->host->share_path, vm_vsock_path(p->vm), p->agent, serial, img->disk_path, e);
	image_free(img);
	return rc;
}

void pod_shares_release(struct pod *p)
{
	const char *key;
	json_t *id;
	void *tmp;
	json_object_foreach_safe(p->remembered, tmp, key, id)
		if (!strncmp(key, "image/", 6)) {
			image_release(p->host->images, json_string_value(id));
			json_object_del(p->remembered, key);
		}
}

int pod_shares_ensure(struct pod *p, struct err *e)
{
	size_t i;
	json_t *v;
	json_array_foreach(jpath_get(p->seen, "spec.volumes"), i, v) {
		const char *name = jpath_str(v, "name", "");
		const json_t *path = json_object_get(v, "hostPath"), *image = json_object_get(v, "image");
		int rc = 0;
		if (path && !pod_claim_find(p, name))
			rc = share_host_path(p, name, path, e);
		else if (image)
			rc = share_image_volume(p, name, image, e);
		if (rc == -EPIPE || rc == -ETIMEDOUT || rc == -ECANCELED)
			return rc;
		if (rc) {
			struct err why = *e;
			return err_set(e, EAGAIN, "MountVolume.SetUp failed for volume \"%s\" : %s", name, why.text);
		}
	}
	return 0;
}

/* --- how a container sees them --- */

int pod_share_mount(struct pod *p, const json_t *volume, Bulkhead__Agent__Mount *m, struct err *e)
{
	const json_t *path = json_object_get(volume, "hostPath");
	struct stat st;
	char key[128];
	if (path) {
		m->kind = BULKHEAD__AGENT__MOUNT__KIND__SHARE;
		if (stat(jpath_str(path, "path", ""), &st) || !S_ISREG(st.st_mode))
			return 0;
		free(m->sub_path);   // a file is alone in its share
		m->sub_path = strdup("file");
		return m->sub_path ? 0 : err_sys(e, ENOMEM, "mounts");
	}
	snprintf(key, sizeof(key), "image/%.63s", jpath_str(volume, "name", ""));
	const char *id = json_string_value(json_object_get(pod_remembered(p), key));
	if (!id)
		return err_set(e, EAGAIN, "image of volume \"%s\" is not there yet", jpath_str(volume, "name", ""));
	/* The serial must live as long as the message: it is remembered beside the id. */
	char serial[20];
	pod_image_serial(id, serial);
	snprintf(key, sizeof(key), "serial/%.63s", jpath_str(volume, "name", ""));
	if (strcmp(serial, jpath_str(json_object_get(pod_remembered(p), key), "", "")))   // another mount of this message may point to it
		json_object_set_new(pod_remembered(p), key, json_string(serial));
	m->kind = BULKHEAD__AGENT__MOUNT__KIND__DISK;
	m->source = (char *)json_string_value(json_object_get(pod_remembered(p), key));
	m->fs_type = (char *)"erofs";
	m->read_only = true;
	return m->source ? 0 : err_sys(e, ENOMEM, "mounts");
}
