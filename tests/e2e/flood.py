#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Many connections that ask without a pause: flood.py URL PKI-FOLDER USER CONNECTIONS SECONDS PATH [BODY to POST]. FLOOD_AS=PREFIX: each request
speaks for another user, PREFIX and a number, and 40 groups. Prints
how many answers there were of each code, as JSON, and whether each 429 came with Retry-After and a Status."""
import http.client
import itertools
import json
import os
import ssl
import sys
import threading
import time
import urllib.parse

url, pki, user, path = urllib.parse.urlparse(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[6]
post = sys.argv[7] if len(sys.argv) > 7 else None
end = time.monotonic() + float(sys.argv[5])
tls = ssl.create_default_context(cafile=f"{pki}/ca.crt")
tls.load_cert_chain(f"{pki}/{user}.crt", f"{pki}/{user}.key")
counts, wrong, lock = {}, [], threading.Lock()
others, prefix = itertools.count(), os.environ.get("FLOOD_AS")


def ask(api):
    api.putrequest("POST" if post else "GET", path)
    if prefix:
        api.putheader("Impersonate-User", f"{prefix}{next(others)}")
        for group in range(40):
            api.putheader("Impersonate-Group", f"{prefix}{group}")
    if post:
        api.putheader("Content-Type", "application/json")
        api.putheader("Content-Length", str(len(post)))
    api.endheaders(post.encode() if post else None)


def run():
    api = None
    while time.monotonic() < end:
        try:
            api = api or http.client.HTTPSConnection(url.hostname, url.port, context=tls, timeout=60)
            ask(api)
            answer = api.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException):
            api, answer = None, None
        with lock:
            code = answer.status if answer else 0
            counts[code] = counts.get(code, 0) + 1
            if code == 429 and not wrong:
                status = json.loads(body)
                if answer.getheader("Retry-After") != "1" or status["reason"] != "TooManyRequests" or status["code"] != 429:
                    wrong.append(body.decode())


threads = [threading.Thread(target=run) for _ in range(int(sys.argv[4]))]
for t in threads:
    t.start()
for t in threads:
    t.join()
print(json.dumps({**counts, "wrong": wrong}))
