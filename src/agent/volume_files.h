// SPDX-License-Identifier: Apache-2.0
// The files of a configMap, secret, projected or downwardAPI volume, replaced all at one moment.
#ifndef BH_AGENT_VOLUME_FILES_H
#define BH_AGENT_VOLUME_FILES_H

#include "agent.pb-c.h"
#include "base/err.h"

/* dir: existing folder. Afterwards it holds exactly the files of w: a new folder ..<number> with the data, a link
 * ..data to it, switched by rename, and a link at each name to ..data/NAME. Readers see the old set or the new one.
 * 0; -EINVAL a path that is absolute, has "..", or starts with ".."; -errno, and the old set stays. */
int volume_files_write(const char *dir, const Bulkhead__Agent__WriteVolume *w, struct err *e);

#endif
