// SPDX-License-Identifier: Apache-2.0
// What the agent's modules share: one process, one thread, one pod. The agent is PID 1 of its VM; as a developer's
// process (--listen DIR) it keeps to DIR and plays the privileged steps.
#ifndef BH_AGENT_AGENT_H
#define BH_AGENT_AGENT_H

#include <stdbool.h>
#include <stdint.h>

struct agent {
	struct evloop *loop;
	const struct machine_ops *machine;   // the guest's kernel, or a folder that stands for it
	struct reaper *reaper;
	struct control *control;
	struct streams *streams;
	struct pod *pod;
	struct containers *containers;
	const char *run_dir;                 // bundles, mount points, the pod's files; memory in the guest
	const char *scratch_dir;             // the pod's writable disk
	const char *cgroup_dir;              // folder of the pod's cgroup
	struct evwatch *give_back;           // NULL until a container runs
	uint64_t init_ns, ready_ns;          // CLOCK_BOOTTIME when main began, when the agent listened
	const char *crun;                    // path of the runtime
	struct template_slots *slots;        // of a clone that waits for its pod: where its devices will be. NULL: they are there
	bool scratch_mounted;
	bool cloned;                         // this VM was not booted, but cloned from a template
};

#define AGENT_DIR_MAX 128     // most bytes of each folder's path, with the NUL

#endif
