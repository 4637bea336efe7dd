// SPDX-License-Identifier: Apache-2.0
// Messages between bulkhead-hostd and bulkhead-vmx over the control socket (Unix, SOCK_SEQPACKET, one message per
// packet, host byte order, same machine). Version is checked in every message; lengths are checked on receipt.
//
// How a VM starts. hostd makes the folder VMDIR, opens what the VM needs and runs
//     bulkhead-vmx --config-fd N
// with N a readable descriptor (file or memfd) holding JSON:
//   { "version": 1, "id": "UUID", "name": "ns/pod", "engine": "qemu" | "kvm", "vcpus": 1, "memory_mib": 256,
//     "kernel_fd": N, "initrd_fd": N, "cmdline": "extra words, may be empty",
//     "control_fd": N,      listening SOCK_SEQPACKET socket (VMDIR/control.sock)
//     "vsock_fd": N,        listening SOCK_STREAM socket (VMDIR/vsock.sock): CONNECT <port>\n -> OK <port>\n
//     "console_fd": N,      append-only file (VMDIR/console.log); vmx stops writing at console_max_bytes
//     "console_max_bytes": 1048576,
//     "ready_fd": N,        write end of a pipe: one line of JSON when running ({"state":"running"}) or failed
//                           ({"state":"failed","error":"sentence"}), then closed
//     "disks": [ { "serial": "img0", "path": "/path/of/disk", "read_only": true } ],     opened before the jail is closed
//     "nets": [ { "tap_fd": N, "mac": "02:...", "vnet_hdr": true,
//                 "queue_fds": [N, ...] } ],      optional, engine kvm: further queues of a TAP made with IFF_MULTI_QUEUE, at most 6
//     "metrics_dir": "/path",    optional: where to link its counters, NAME.PID (src/prda/metrics.h)
//     "restore_state_fd": N, "restore_memory_fd": N,   both or neither: go on as a VM that VMX_MSG_SAVE wrote, with the same
//                           vcpus, memory and engine; kernel, initramfs and command line are not used. A device that is not in
//                           the state appears fresh in its slot; one that is in the state must be here. Of a paged VM the
//                           memory's holes come from whoever pages it.
//     "waiting": true,      left out: false. A saved VM that goes on without network cards; these and further disks come by VMX_MSG_PLUG
//     "template": true,     left out: false. Declare every virtio slot to the guest, so that clones can have more devices
//     "cpu_model": "host" | "x86-64-v2" | "x86-64-v3" | "x86-64-v4",   engine kvm; left out: host.
//                           A saved VM of another model is refused; "host" takes any that this host can be
//     "paged": true,        left out: false. Nothing of the guest's memory is there until somebody attaches what VMX_MSG_MEMORY
//                           hands out to pagerd; who touches it waits until then, and the guest does not run before.
//     "userfault_fd": N,    an open /dev/userfaultfd; left out: vmx makes userfaultfds with the system call (engine kvm only)
//     "uid": 200001, "gid": 200001 }   what vmx becomes after start (0: stay, for tests)
// vmx is started in its own session and lives on when hostd dies; the listening sockets keep their names, so that a
// new hostd connects to VMDIR/control.sock and adopts it. vmx exits when the guest has powered off or failed.
#ifndef BULKHEAD_VMX_MSG_H
#define BULKHEAD_VMX_MSG_H

#include <stdint.h>

#define VMX_MSG_VERSION 1

enum vmx_msg_type {
	VMX_MSG_STATUS = 1,    // request: no payload. reply: struct vmx_status
	VMX_MSG_STOP = 2,      // request: struct vmx_stop. reply: no payload, at once; the end shows as end of stream
	VMX_MSG_RESIZE = 3,    // request: struct vmx_resize: give a disk a new size; with a uid of its own vmx cannot write the
	                       // descriptor: whoever asks has done so. reply: no payload
	VMX_MSG_BALLOON = 4,   // request: struct vmx_balloon. reply: no payload, at once; the guest takes its time
	VMX_MSG_MEMORY = 5,    // request: no payload. reply: struct vmx_memory with descriptors, held back until the engine has
	                       // mapped the memory; answered at any time after that, too. ENODATA: this VM is not paged
	VMX_MSG_SAVE = 6,      // request: no payload, two descriptors: state file, memory file (sparse: page n at n * 4096, zero
	                       // pages left as holes). reply: no payload, when both are written; the VM is paused then
	VMX_MSG_PLUG = 7,      // to a VM that waits, once: whose it is now, its disks and network cards. request: no payload, descriptors:
	                       // a file with JSON {"name": "ns/pod", "disks": [as above], "nets": [as above],
	                       // "files": [ { "path": "/path/of/disk/file", "fd": N } ]}, where tap_fd and fd say which of the
	                       // message's descriptors; "files" has all that opening the disks takes. reply: no payload, when the
	                       // guest can find the devices. After an error the VM is good for nothing
	VMX_MSG_ERROR = 255,   // reply instead of the above: struct vmx_error
};

struct vmx_msg {               // head of every message
	uint32_t version;      // VMX_MSG_VERSION
	uint32_t type;         // enum vmx_msg_type; replies carry the request's type
	uint64_t id;           // chosen by the sender of the request, echoed
};

enum vmx_state { VMX_STARTING, VMX_RUNNING, VMX_PAUSED, VMX_STOPPING,
	VMX_WAITING };         // the guest runs, and has not been given anything of a pod yet

struct vmx_status {
	struct vmx_msg head;
	uint32_t state;            // enum vmx_state
	uint32_t engine;           // 0 qemu, 1 kvm
	uint32_t pid;              // of vmx
	uint32_t engine_pid;       // of QEMU, 0 for kvm
	uint32_t vcpus;
	uint32_t memory_mib;
	uint64_t start_real_ns;    // when vmx started
	uint64_t setup_ns;         // vmx start -> engine started
	uint64_t boot_ns;          // engine started -> first guest vsock packet; 0: not yet
	uint64_t disk_read_bytes, disk_write_bytes, disk_ops;
	uint64_t vsock_rx_bytes, vsock_tx_bytes;
	uint64_t memory_resident_bytes;   // of the guest memory memfd
	// Engine kvm: how often the guest's processors came back to vmx, by what for. 0 with qemu.
	uint64_t exits_port, exits_mmio, exits_halt, exits_signal, exits_other;
	uint64_t net_rx_packets, net_tx_packets, net_rx_bytes, net_tx_bytes;   // rx: to the guest; engine kvm
	uint64_t memory_balloon_bytes;    // taken from the guest
};

struct vmx_stop { struct vmx_msg head; uint32_t how; };       // 0: kill the VM now; 1: power button
struct vmx_resize {
	struct vmx_msg head;
	uint64_t size_bytes;       // 0: a raw disk's file has grown by itself
	char serial[20];           // which disk; padded with zeros
	uint32_t reserved;         // 0
};

#define VMX_MAPS_MAX 4
// Descriptors of the reply: 0 the memfd, then one userfaultfd for each of `maps`' distinct fd numbers. vmx keeps its own.
struct vmx_memory {
	struct vmx_msg head;
	uint64_t memory_bytes;
	uint32_t maps, fds;
	struct { uint64_t address, offset, length; uint32_t fd, zero; } map[VMX_MAPS_MAX];   // as struct pager_map
};
struct vmx_balloon { struct vmx_msg head; uint64_t target_bytes; };   // what the guest shall do without; 0: all is its own
struct vmx_error { struct vmx_msg head; int32_t code; char text[256]; };

#define VMX_MSG_MAX 512

#endif
