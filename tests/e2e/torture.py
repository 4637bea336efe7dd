#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Kills servers (and etcd members) at random under a write load, and checks every promise.

torture.py BIN-FOLDER WORK-FOLDER KILLS sqlite|etcd [SEED]

One kill in four of a SQLite server hits it while it starts, the others after some more acknowledged writes. SIGTERM to this
program ends the kills before their number is reached; everything is checked as usual.

Writers note each acknowledged write in WORK-FOLDER/acknowledged and in memory; one object belongs to one writer and
carries a number that grows by one with every write. A write without an answer may have happened or not, nothing else.
Watchers follow all objects, go on with their last resourceVersion wherever a server answers, and check that each
object's numbers come one by one and resourceVersions only grow. With etcd (three members, two servers) a watch must
never have to begin anew.
"""
import functools
import http.client
import json
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

BIN, WORK, KILLS, STORE = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
SEED = int(sys.argv[5]) if len(sys.argv) > 5 else random.randrange(1 << 30)
random.seed(SEED)
PATH = "/api/v1/namespaces/default/configmaps"
WRITERS, KEYS = 4, 12
over, enough = threading.Event(), threading.Event()
failures, processes = [], {}
lock = threading.Lock()
stats = {"acknowledged": 0, "unanswered": 0, "events": 0, "relists": 0, "conflicts": 0, "late": 0, "while it started": 0}


def fail(text):
    with lock:
        failures.append(text)
    print("FAILED:", text, flush=True)
    over.set()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


# --- processes

class Process:
    def __init__(self, name, argv):
        self.name, self.argv, self.child = name, argv, None

    def start(self):
        log = open(f"{WORK}/{self.name}.log", "ab")
        self.child = subprocess.Popen(self.argv, stdout=log, stderr=log)

    def kill(self, how=signal.SIGKILL):
        self.child.send_signal(how)
        self.child.wait()


PKI = f"{WORK}/s0/pki"
SERVERS, PORTS, MEMBERS, CLIENT_PORTS = [], [], [], []
if STORE == "etcd":
    CLIENT_PORTS, peers = [free_port() for _ in range(3)], [free_port() for _ in range(3)]
    cluster = ",".join(f"m{i}=http://127.0.0.1:{p}" for i, p in enumerate(peers))
    for i in range(3):
        MEMBERS.append(Process(f"m{i}", [
            "etcd", "--name", f"m{i}", "--data-dir", f"{WORK}/m{i}", "--listen-client-urls", f"http://127.0.0.1:{CLIENT_PORTS[i]}",
            "--advertise-client-urls", f"http://127.0.0.1:{CLIENT_PORTS[i]}", "--listen-peer-urls", f"http://127.0.0.1:{peers[i]}",
            "--initial-advertise-peer-urls", f"http://127.0.0.1:{peers[i]}", "--initial-cluster", cluster]))
    where = "etcd=" + ",".join(f"http://127.0.0.1:{p}" for p in CLIENT_PORTS)
else:
    where = "sqlite"
for i in range(2 if STORE == "etcd" else 1):
    PORTS.append(free_port())
    SERVERS.append(Process(f"s{i}", [f"{BIN}/bulkhead-server", "--root", f"{WORK}/s{i}", "--listen", f"127.0.0.1:{PORTS[i]}",
                                     "--node-name", f"server-{i}", "--store", where]))


# --- a client that goes to whoever answers

@functools.cache
def tls():
    context = ssl.create_default_context(cafile=f"{PKI}/ca.crt")
    context.load_cert_chain(f"{PKI}/admin.crt", f"{PKI}/admin.key")
    return context


class Client:
    def __init__(self, first=0):
        self.at, self.conn = first, None

    def connect(self, timeout):
        self.conn = http.client.HTTPSConnection("127.0.0.1", PORTS[self.at % len(PORTS)], context=tls(), timeout=timeout)

    def next(self):
        if self.conn:
            self.conn.close()
        self.conn = None
        self.at += 1

    def ask(self, method, path, body=None, timeout=20):
        """Status and answer; (0, None) when nobody can say what became of it."""
        try:
            if not self.conn:
                self.connect(timeout)
            self.conn.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
            answer = self.conn.getresponse()
            text = answer.read()
            if answer.status >= 500:
                self.next()
                return 0, None
            return answer.status, json.loads(text)
        except (OSError, http.client.HTTPException, ValueError):
            self.next()
            time.sleep(0.01)
            return 0, None


def insist(client, method, path):
    while True:
        code, j = client.ask(method, path)
        if code in (200, 404):
            return code, j
        if code:
            fail(f"{method} {path}: {code} {j}")
            return code, j


# --- writers

def settle(client, name, state):
    """What nobody has answered may be carried out after somebody has looked (the server that was killed had sent it on): is that so?"""
    code, j = insist(client, "GET", f"{PATH}/{name}")
    now, late = int(j["data"]["n"]) if code == 200 else None, state.pop("late")
    if now != late:
        return False
    state["rv"] = j["metadata"]["resourceVersion"] if code == 200 else None
    state["n"] = now or state["n"]
    with lock:
        stats["late"] += 1
    return True


def writer(w, book):
    client, log = Client(w), open(f"{WORK}/acknowledged", "a")
    rnd = random.Random(SEED + w)
    while not over.is_set():
        name = f"t-{w}-{rnd.randrange(KEYS)}"
        state = book.setdefault(name, {"n": 0, "rv": None})   # rv None: absent
        n, size = state["n"] + 1, rnd.choice([10, 100, 3000])
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"n": str(n), "pad": "x" * size}}
        action = "create" if state["rv"] is None else rnd.choice(["update"] * 5 + ["delete"])
        if action == "create":
            code, j = client.ask("POST", PATH, body)
        elif action == "update":
            body["metadata"]["resourceVersion"] = state["rv"]
            code, j = client.ask("PUT", f"{PATH}/{name}", body)
        else:
            code, j = client.ask("DELETE", f"{PATH}/{name}", {"preconditions": {"resourceVersion": state["rv"]}})
        if code in (200, 201):
            state.pop("late", None)
            state.update({"n": n, "rv": j["metadata"]["resourceVersion"]} if action != "delete" else {"rv": None})
            log.write(f"{name} {action} {state['n']}\n")
            log.flush()
            with lock:
                stats["acknowledged"] += 1
            continue
        with lock:
            stats["unanswered" if not code else "conflicts"] += 1
        if code and ("late" not in state or not settle(client, name, state)):
            fail(f"{action} {name}: {code} {j} (have {state})")
            return
        if code:
            continue
        # What is it now? The old state or the one that was asked for.
        code, j = insist(client, "GET", f"{PATH}/{name}")
        now = int(j["data"]["n"]) if code == 200 else None
        was = state["n"] if state["rv"] is not None else None
        asked = None if action == "delete" else n
        if now not in (was, asked):
            fail(f"{name}: after an unanswered {action} it has {now}, acknowledged was {was}, asked for {asked}")
            return
        if now != asked and STORE == "etcd":
            state["late"] = asked
        if code == 200:
            state.update({"n": now, "rv": j["metadata"]["resourceVersion"]})
        else:
            state["rv"] = None
    for name, state in book.items():
        if "late" in state:
            settle(client, name, state)


# --- watchers

class Model:
    def __init__(self):
        self.last, self.there, self.rv = {}, {}, 0
        self.known = set()   # seen since the last list began; of others it is not known what they were before they went

    def event(self, kind, obj):
        name, rv = obj["metadata"]["name"], int(obj["metadata"]["resourceVersion"])
        if rv <= self.rv:
            fail(f"watch: resourceVersion {rv} after {self.rv}")
        self.rv = rv
        if kind == "BOOKMARK" or not name.startswith("t-"):
            return
        n, last = int(obj["data"]["n"]), self.last.get(name, 0)
        if name not in self.known and n > last:
            last = n - 1
        self.known.add(name)
        if kind == "DELETED":
            if n != last or name not in self.there:
                fail(f"watch: {name} is deleted with {n}, was {last}")
            self.there.pop(name, None)
            return
        if n != last + 1 or (kind == "ADDED") == (name in self.there):
            fail(f"watch: {kind} {name} with {n}, was {last}, there: {name in self.there}")
        self.last[name], self.there[name] = n, n

    def list(self, items, rv):
        now = {o["metadata"]["name"]: int(o["data"]["n"]) for o in items if o["metadata"]["name"].startswith("t-")}
        for name, n in now.items():
            if n < self.last.get(name, 0):
                fail(f"list: {name} has {n}, was {self.last[name]} before")
        if rv < self.rv:
            fail(f"list: resourceVersion {rv} after {self.rv}")
        self.last.update(now)
        self.known = set(now)
        self.there, self.rv = now, rv


def follow(client, model, stop):
    client.connect(5)
    client.conn.request("GET", f"{PATH}?watch=1&resourceVersion={model.rv}")
    answer = client.conn.getresponse()
    if answer.status == 410:
        return False
    if answer.status != 200:
        answer.read()
        return True
    while not stop():
        line = answer.readline()
        if not line.endswith(b"\n"):
            return True
        e = json.loads(line)
        if e["type"] == "ERROR":
            return e["object"]["code"] != 410
        with lock:
            stats["events"] += 1
        model.event(e["type"], e["object"])
    return True


def watcher(index, model, stop):
    client, listed = Client(index), False
    while not stop():
        try:
            if not listed:
                code, j = insist(client, "GET", PATH)
                model.list(j["items"], int(j["metadata"]["resourceVersion"]))
                listed = True
                client.next()
            if not follow(client, model, stop):
                listed = False
                with lock:
                    stats["relists"] += 1
                if STORE == "etcd":
                    fail("a watch could not go on")
        except (OSError, http.client.HTTPException, ValueError):
            pass
        client.next()
        time.sleep(0.02)


# --- the play

def ready(i):
    code, _ = 0, None
    try:
        c = Client(i)
        c.connect(5)
        c.conn.request("GET", "/readyz")
        code = c.conn.getresponse().status
    except (OSError, http.client.HTTPException):
        pass
    return code == 200


def healthy(i):
    try:
        c = http.client.HTTPConnection("127.0.0.1", CLIENT_PORTS[i], timeout=5)
        c.request("GET", "/health")
        return b"true" in c.getresponse().read()
    except (OSError, http.client.HTTPException):
        return False


def wait(what, check, seconds=120):
    end = time.monotonic() + seconds
    while not check() and not failures:
        if time.monotonic() > end:
            fail(f"{what}: not within {seconds} s")
        time.sleep(0.005)


def all_ready():
    for i in range(len(MEMBERS)):
        wait(f"member {i}", lambda: healthy(i))
    for i in range(len(SERVERS)):
        wait(f"server {i}", lambda: ready(i))


def main():
    os.makedirs(WORK, exist_ok=True)
    print(f"seed {SEED}", flush=True)
    for p in MEMBERS + SERVERS:
        p.start()
    wait("certificates", lambda: os.path.exists(f"{PKI}/admin.key"))
    all_ready()
    wait("the namespace", lambda: Client().ask("GET", "/api/v1/namespaces/default")[0] == 200)
    books, models, done = [{} for _ in range(WRITERS)], [Model() for _ in range(2)], threading.Event()
    writers = [threading.Thread(target=writer, args=(w, books[w])) for w in range(WRITERS)]
    watchers = [threading.Thread(target=watcher, args=(i, models[i], done.is_set), daemon=True) for i in range(2)]
    for t in writers + watchers:
        t.start()
    began, kills = time.monotonic(), 0
    signal.signal(signal.SIGTERM, lambda *_: enough.set())
    while kills < KILLS and not enough.is_set():
        if not MEMBERS and kills % 4 == 3:
            time.sleep(random.uniform(0, 0.1))
            stats["while it started"] += 1
        else:
            target = stats["acknowledged"] + random.randrange(1, 40)
            wait("writes", lambda: stats["acknowledged"] >= target)
        if failures:
            break
        victim = random.choice(SERVERS + MEMBERS)
        victim.kill()
        victim.start()
        if MEMBERS:
            all_ready()   # one at a time: two of three members make the cluster
        kills += 1
        if kills % 500 == 0:
            print(f"{kills} kills in {time.monotonic() - began:.0f} s: {stats}", flush=True)
    over.set()
    for t in writers:
        t.join()
    all_ready()
    for i in range(len(SERVERS)):
        code, j = insist(Client(i), "GET", PATH)
        now = {o["metadata"]["name"]: int(o["data"]["n"]) for o in j["items"] if o["metadata"]["name"].startswith("t-")}
        acknowledged = {name: s["n"] for b in books for name, s in b.items() if s["rv"] is not None}
        if now != acknowledged:
            fail(f"server {i} has {now}, acknowledged is {acknowledged}")
    end = time.monotonic() + 30
    while any(m.there != acknowledged for m in models) and time.monotonic() < end:
        time.sleep(0.05)
    done.set()
    for i, m in enumerate(models):
        if m.there != acknowledged:
            fail(f"watcher {i} came to {m.there}, acknowledged is {acknowledged}")
    for p in SERVERS:
        p.kill(signal.SIGTERM)
        if p.child.returncode != 0:
            fail(f"{p.name} ended with {p.child.returncode}")
    for p in MEMBERS:
        p.kill()
    print(f"{kills} kills in {time.monotonic() - began:.0f} s: {stats}", flush=True)
    sys.exit(1 if failures else 0)


try:
    main()
finally:
    for p in SERVERS + MEMBERS:
        if p.child and p.child.poll() is None:
            p.child.kill()
