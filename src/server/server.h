// SPDX-License-Identifier: Apache-2.0
// What the parts of the server share: the configuration and the long-lived objects. Set up by main, then read-only.
#ifndef BH_SERVER_SERVER_H
#define BH_SERVER_SERVER_H

#include <stdbool.h>

#include "base/cidr.h"

struct store;
struct streams;
struct recorder;
struct jwt_key;
struct rbac;
struct metrics;
struct audit;
struct fair;
struct pump;

struct server {
	const char *root;             // folder of everything
	const char *advertise;        // address that clients are told
	int port;
	const char *node_name, *node_addr;
	int kubelet_port;
	struct cidr service_range;    // of clusterIPs
	struct cidr pod_range;        // divided among the nodes
	unsigned node_prefix;         // of a node's part of it
	const char *endpoint;         // where pods reach this server, "ADDR:PORT"; NULL: nowhere
	struct store *store;
	struct streams *streams;      // connections to nodes
	struct pump *pump;            // watches that have nothing old to say any more
	struct recorder *recorder;
	struct jwt_key *token_key;    // signs tokens of service accounts
	struct rbac *rbac;            // who may do what
	struct metrics *metrics;      // what nodes and pods use
	struct fair *fair;            // divides the time among users; NULL: nobody does
	struct audit *audit;          // who asked for what; NULL: not written down
	_Atomic bool ready, stopping;
	_Atomic int suspended;        // requests that somebody has to resume
	_Atomic int requests;         // that are not answered yet, without those that only follow something
};

#endif
