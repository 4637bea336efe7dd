#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# For tests: as much of an API server as kubectl needs to reach one kubelet. It answers discovery and the pod from
# memory, rewrites the paths of logs, exec, attach and port-forward to the kubelet's, and passes the bytes through.
#   apiserver.py DIR KUBELET_PORT     DIR as for streaming-host, with client.crt and client.key; prints its port
import asyncio
import json
import ssl
import sys
from urllib.parse import parse_qsl, urlencode, urlsplit

folder, kubelet_port = sys.argv[1], int(sys.argv[2])
POD = {
    "kind": "Pod", "apiVersion": "v1",
    "metadata": {"name": "web", "namespace": "default", "uid": "u1"},
    "spec": {"nodeName": "n", "containers": [{"name": n, "image": "x", "stdin": n == "main"} for n in ("main", "side", "slow", "gone")]},
    "status": {"phase": "Running", "containerStatuses": [{"name": "main", "ready": True, "state": {"running": {}}}]},
}
RESOURCES = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "v1", "resources": [
    {"name": "pods", "singularName": "pod", "namespaced": True, "kind": "Pod", "verbs": ["get", "list"]},
    *({"name": "pods/" + s, "singularName": "", "namespaced": True, "kind": "Pod", "verbs": ["get", "create"]}
      for s in ("log", "exec", "attach", "portforward"))]}
ANSWERS = {
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": RESOURCES,
    "/version": {"major": "1", "minor": "32", "gitVersion": "v1.32.0"},
    "/api/v1/namespaces/default/pods/web": POD,
}
RENAMED = {"stdin": "input", "stdout": "output", "stderr": "error"}


def kubelet_target(url):
    parts = url.path.split("/")
    if len(parts) != 8 or parts[:4] != ["", "api", "v1", "namespaces"]:
        return None
    ns, pod, sub = parts[4], parts[6], parts[7]
    query = parse_qsl(url.query, keep_blank_values=True)
    container = dict(query).get("container", "main")
    query = [(k, v) for k, v in query if k != "container"]
    if sub == "log":
        return f"/containerLogs/{ns}/{pod}/{container}?{urlencode(query)}"
    query = [(RENAMED.get(k, k), "1" if v == "true" else v) for k, v in query if v != "false"]
    if sub in ("exec", "attach"):
        return f"/{sub}/{ns}/{pod}/{container}?{urlencode(query)}"
    if sub == "portforward":
        return f"/portForward/{ns}/{pod}?{urlencode(query)}"
    return None


async def copy(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()
    except (ConnectionError, ssl.SSLError):
        writer.close()


async def answer(writer, code, value):
    body = json.dumps(value).encode()
    writer.write(f"HTTP/1.1 {code} x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    await writer.drain()


async def tunnel(reader, writer, method, target, head):
    context = ssl.create_default_context(cafile=folder + "/ca.crt")
    context.load_cert_chain(folder + "/client.crt", folder + "/client.key")
    up_reader, up_writer = await asyncio.open_connection("127.0.0.1", kubelet_port, ssl=context, server_hostname="localhost")
    up_writer.write(f"{method} {target} HTTP/1.1\r\n".encode() + head)
    await asyncio.gather(copy(reader, up_writer), copy(up_reader, writer))


async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            line, rest = head.split(b"\r\n", 1)
            method, uri, _ = line.decode().split(" ")
            url = urlsplit(uri)
            target = kubelet_target(url)
            if target:
                return await tunnel(reader, writer, method, target, rest)
            if url.path in ANSWERS:
                await answer(writer, 200, ANSWERS[url.path])
            else:
                await answer(writer, 404, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404})
    except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
        pass
    finally:
        writer.close()


async def main():
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder + "/server.crt", folder + "/server.key")
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
