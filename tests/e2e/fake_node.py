#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A node without VMs: what is bound to it runs at once, and ends at once when it is deleted.

fake_node.py URL PKI-FOLDER NAME[=CPUS[,LABEL=VALUE...]]. Annotations of a pod say how it goes: fake/exit: "0" ends with that code, fake/ready:
"false" never becomes ready, fake/cpu: "250" uses a quarter of a processor, fake/memory: "100" so many MiB.
"""
import http.client
import http.server
import json
import ssl
import sys
import threading
import time
import urllib.parse

url, pki = urllib.parse.urlparse(sys.argv[1]), sys.argv[2]
node, _, more = sys.argv[3].partition("=")
cpus, *labels = more.split(",")
tls = ssl.create_default_context(cafile=f"{pki}/ca.crt")
tls.load_cert_chain(f"{pki}/admin.crt", f"{pki}/admin.key")
address = 1


def connect():
    return http.client.HTTPSConnection(url.hostname, url.port, context=tls)


api = connect()


def call(method, path, body=None, kind="application/merge-patch+json"):
    global api
    for _ in range(3):   # the server closes connections that have been idle
        try:
            api.request(method, path, body=json.dumps(body) if body is not None else None, headers={"Content-Type": kind})
            answer = api.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            api = connect()
    return 0, b""


def now():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def condition(kind, yes):
    return {"type": kind, "status": "True" if yes else "False", "lastTransitionTime": now(), "lastProbeTime": None}


def status_of(pod):
    global address
    marks = pod["metadata"].get("annotations", {})
    code, ready = marks.get("fake/exit"), marks.get("fake/ready") != "false"
    address += 1
    if code is None:
        phase, state = "Running", {"running": {"startedAt": now()}}
    else:
        phase = "Succeeded" if code == "0" else "Failed"
        state = {"terminated": {"exitCode": int(code), "reason": "Error" if code != "0" else "Completed", "startedAt": now(), "finishedAt": now()}}
        ready = False
    ip = f"10.0.{address // 250}.{address % 250 + 1}"
    return {"status": {
        "phase": phase, "podIP": ip, "podIPs": [{"ip": ip}], "hostIP": "127.0.0.1", "startTime": now(),
        "conditions": [condition("PodScheduled", True), condition("Initialized", True), condition("ContainersReady", ready),
                       condition("Ready", ready)],
        "containerStatuses": [{"name": c["name"], "image": c["image"], "imageID": "", "restartCount": 0, "ready": ready, "state": state}
                              for c in pod["spec"]["containers"]]}}


def look_at(pod):
    meta = pod["metadata"]
    if pod["spec"].get("nodeName") != node:
        return
    path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
    pods[meta["namespace"], meta["name"]] = pod
    if meta.get("deletionTimestamp"):
        if meta.get("deletionGracePeriodSeconds"):
            call("DELETE", path, {"gracePeriodSeconds": 0}, "application/json")
    elif pod["status"].get("phase", "Pending") == "Pending":
        call("PATCH", path + "/status", status_of(pod))


pods = {}       # what runs here: (namespace, name) -> pod
used = {}       # (namespace, name, container) -> [time, nanoseconds of processor]


def container_stats(pod, name):
    meta, at = pod["metadata"], time.monotonic()
    marks = meta.get("annotations", {})
    counter = used.setdefault((meta["namespace"], meta["name"], name), [at, 0])
    counter[1] += int((at - counter[0]) * float(marks.get("fake/cpu", 0)) * 1e6)
    counter[0] = at
    return {"name": name, "cpu": {"usageCoreNanoSeconds": counter[1]},
            "memory": {"workingSetBytes": int(marks.get("fake/memory", 1)) << 20}}


class Kubelet(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        shown = [pod for pod in list(pods.values()) if "fake/cpu" in pod["metadata"].get("annotations", {})]
        body = json.dumps({"node": {"nodeName": node, "cpu": {"usageCoreNanoSeconds": 0}, "memory": {"workingSetBytes": 0}}, "pods": [{
            "podRef": {"namespace": pod["metadata"]["namespace"], "name": pod["metadata"]["name"]},
            "containers": [container_stats(pod, c["name"]) for c in pod["spec"]["containers"]]} for pod in shown]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def serve():
    """/stats/summary of a kubelet; returns the port."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Kubelet)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(f"{pki}/node-serving.crt", f"{pki}/node-serving.key")
    server.socket = serving.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


def register():
    resources = {"cpu": cpus or "1000", "memory": "1000Gi", "pods": "10000"}
    call("POST", "/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node, "labels": {
        "kubernetes.io/hostname": node, **dict(label.split("=") for label in labels)}}, "status": {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}], "capacity": resources, "allocatable": resources,
        "daemonEndpoints": {"kubeletEndpoint": {"Port": serve()}}, "conditions": [condition("Ready", True)]}}, "application/json")


def follow():
    code, body = call("GET", "/api/v1/pods")
    if code != 200:
        return
    found = json.loads(body)
    pods.clear()
    for pod in found["items"]:
        look_at(pod)
    watch = connect()
    watch.request("GET", f"/api/v1/pods?watch=1&resourceVersion={found['metadata']['resourceVersion']}")
    answer = watch.getresponse()
    while line := answer.readline():
        event = json.loads(line)
        if event["type"] in ("ADDED", "MODIFIED"):
            look_at(event["object"])
        elif event["type"] == "DELETED":
            pods.pop((event["object"]["metadata"]["namespace"], event["object"]["metadata"]["name"]), None)


def beat():
    """Say now and then that the node is alive, on a connection of its own."""
    path = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{node}"
    while True:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": node, "namespace": "kube-node-lease"},
                 "spec": {"holderIdentity": node, "leaseDurationSeconds": 40, "renewTime": stamp}}
        try:
            own = connect()
            own.request("PATCH", path + "?fieldManager=fake&force=true", json.dumps(lease), {"Content-Type": "application/apply-patch+yaml"})
            own.getresponse().read()
            own.close()
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(10)


register()
threading.Thread(target=beat, daemon=True).start()
while True:
    try:
        follow()
    except (OSError, http.client.HTTPException):
        pass
    time.sleep(0.2)
