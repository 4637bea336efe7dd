# SPDX-License-Identifier: Apache-2.0
"""Runs in a pod of the python3 image: libraries in C, a database, processes that share a queue; then serves its files."""
import ctypes, hashlib, http.server, json, lzma, multiprocessing, os, sqlite3, ssl, threading, zlib

if __name__ == "__main__":
    db = sqlite3.connect("/tmp/db")
    db.execute("create table t (a)")
    db.executemany("insert into t values (?)", [(i,) for i in range(1000)])
    with multiprocessing.Pool(2) as pool:
        total = sum(pool.map(abs, range(-100, 0)))
    print(json.dumps([db.execute("select sum(a) from t").fetchone()[0], total, ssl.OPENSSL_VERSION.split()[0], os.getpid()]))
    http.server.test(HandlerClass=http.server.SimpleHTTPRequestHandler, port=8000)
