#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""odd_image.py KIND OUT_DIR [BASE]: OCI layouts with contents that image tools get wrong; above the layers of BASE, an OCI
layout, so that a pod can look at them.

odd     every kind of file, whiteouts, paths that try to leave the root
strange what odd has not: names that are no UTF-8, loops of links, sparse files, programs with a set-user-id bit or a
        capability, links and folders that later layers change
deep    127 layers, each changing the same files
hundred as many layers as make 100 with those of BASE: each adds a file, changes one and removes one
zstd    a zstd layer above a gzip layer
index   an index: wrong platforms first, linux/amd64 last
foreign only linux/s390x
sparse  a file with a hole in GNU tar's own form, which no tool of Docker's or Kubernetes' makes
longname a file name of 255 bytes
broken  a layer whose bytes are not what its digest says
"""
import gzip, hashlib, io, json, os, struct, subprocess, sys, tarfile, tempfile

LAYER = "application/vnd.oci.image.layer.v1.tar"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Layout:
    def __init__(self, path):
        self.path, self.base = path, ([], [])
        os.makedirs(f"{path}/blobs/sha256")
        with open(f"{path}/oci-layout", "w") as f:
            f.write('{"imageLayoutVersion":"1.0.0"}')

    def blob(self, data, digest=None):
        digest = digest or hashlib.sha256(data).hexdigest()
        with open(f"{self.path}/blobs/sha256/{digest}", "wb") as f:
            f.write(data)
        return {"digest": f"sha256:{digest}", "size": len(data)}

    def based_on(self, base):
        """Take the layers of another layout: what image() makes lies above them."""
        def read(d):
            with open(f"{base}/blobs/sha256/{d['digest'][7:]}", "rb") as f:
                return f.read()
        with open(f"{base}/index.json") as f:
            manifest = json.loads(read(json.load(f)["manifests"][0]))
        for d in manifest["layers"]:
            self.blob(read(d))
        self.base = manifest["layers"], json.loads(read(manifest["config"]))["rootfs"]["diff_ids"]

    def image(self, layers, arch="amd64", spoil=False):
        """layers: (tar bytes, packing). Returns the manifest's descriptor."""
        descriptors, diff_ids = list(self.base[0]), list(self.base[1])
        for tar, packing in layers:
            diff_ids.append("sha256:" + hashlib.sha256(tar).hexdigest())
            packed = {"": lambda: tar, "+gzip": lambda: gzip.compress(tar, mtime=0),
                      "+zstd": lambda: subprocess.run(["zstd", "-q", "-c"], input=tar, stdout=subprocess.PIPE, check=True).stdout}[packing]()
            if spoil:
                good = hashlib.sha256(packed).hexdigest()
                packed = packed[:40] + bytes([packed[40] ^ 1]) + packed[41:]
                descriptors.append({"mediaType": LAYER + packing, **self.blob(packed, good)})
            else:
                descriptors.append({"mediaType": LAYER + packing, **self.blob(packed)})
        config = self.blob(json.dumps({"created": "2026-01-01T00:00:00Z", "architecture": arch, "os": "linux",
            "config": {"Cmd": ["/bin/true"], "Labels": {"arch": arch}}, "rootfs": {"type": "layers", "diff_ids": diff_ids}}).encode())
        return {"mediaType": MANIFEST, **self.blob(json.dumps({"schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **config}, "layers": descriptors}).encode())}

    def finish(self, descriptors, name):
        for d in descriptors:
            d["annotations"] = {"org.opencontainers.image.ref.name": "latest", "io.containerd.image.name": name}
        with open(f"{self.path}/index.json", "w") as f:
            json.dump({"schemaVersion": 2, "manifests": descriptors}, f)


class Tar:
    def __init__(self):
        self.out = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.out, mode="w", format=tarfile.PAX_FORMAT)

    def add(self, name, kind=tarfile.REGTYPE, data=b"", **attributes):
        t = tarfile.TarInfo(name)
        t.type, t.size, t.mtime, t.mode = kind, len(data), 1600000000, 0o755 if kind == tarfile.DIRTYPE else 0o644
        for key, value in attributes.items():
            setattr(t, key, value)
        self.tar.addfile(t, io.BytesIO(data))
        return self

    def dir(self, name, **a): return self.add(name, tarfile.DIRTYPE, **a)
    def link(self, name, to, **a): return self.add(name, tarfile.SYMTYPE, linkname=to, **a)
    def hard(self, name, to, **a): return self.add(name, tarfile.LNKTYPE, linkname=to, **a)

    def bytes(self):
        self.tar.close()
        return self.out.getvalue()


def capability(number):
    """security.capability, revision 2: one capability, effective and permitted. All bytes are below 0x80: PAX text."""
    return struct.pack("<IIIII", 0x02000001, 1 << number, 0, 0, 0).decode()


CAP_DAC_OVERRIDE, CAP_NET_RAW = 1, 13


def odd():
    one = Tar()
    one.dir("dir", mode=0o2750, uid=12345, gid=54321).dir("dir/empty", mode=0o700).dir("dir/opaque")
    one.add("dir/opaque/below", data=b"hidden").add("dir/gone", data=b"x").add("dir/kept", data=b"kept\n")
    one.add("dir/setuid", data=b"#!", mode=0o4755).add("dir/none", data=b"secret", mode=0)
    one.add("dir/bigid", uid=4000000000, gid=4000000001).add("dir/old", mtime=1)
    one.add("dir/ns", pax_headers={"mtime": "1500000000.123456789"})
    one.add("dir/first", data=b"same inode\n").hard("dir/second", "dir/first")
    one.link("dir/absolute", "/etc/hostname").link("dir/dangling", "../../../no/such").link("dir/long", "t" * 3000)
    one.add("dir/null", tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666).add("dir/loop", tarfile.BLKTYPE, devmajor=7, devminor=9)
    one.add("dir/fifo", tarfile.FIFOTYPE)
    one.add("dir/sp ace").add("dir/new\nline").add("dir/-dash").add("dir/\u00fcml\u00e4ut").add("dir/" + "n" * 254)
    one.add("/".join(["d" * 60] * 10) + "/deep", data=b"deep")
    one.add("dir/cap", data=b"bin", mode=0o755, pax_headers={"SCHILY.xattr.user.note": "hello",
        "SCHILY.xattr.security.capability": capability(CAP_NET_RAW)})
    one.add("dir/big", data=os.urandom(1) * 3000001)
    one.dir("tofile").add("tofile/inside").add("todir", data=b"file")
    two = Tar()
    two.add("dir/.wh.gone").dir("dir/opaque").add("dir/opaque/.wh..wh..opq").add("dir/opaque/above", data=b"seen")
    two.hard("dir/third", "dir/first").add("tofile", data=b"now a file").dir("todir").add("todir/inside", data=b"now a folder")
    two.add("dir/.wh.never-was")
    three = Tar()
    three.add("../../../../../../tmp/image_e2e_escape", data=b"out").add("/tmp/image_e2e_absolute", data=b"in")
    three.link("way-out", "/tmp/image_e2e_victim").add("way-out/file", data=b"in")
    three.link("up", "../../../../../tmp/image_e2e_victim").add("up/file2", data=b"in")
    return [(one.bytes(), "+gzip"), (two.bytes(), ""), (three.bytes(), "+gzip")]


def sparse(form):
    """A layer as GNU tar packs a file with a hole: 8 MiB, of which two ends are written."""
    with tempfile.TemporaryDirectory() as d:
        with open(f"{d}/sparse", "wb") as f:
            f.write(b"head")
            f.seek((8 << 20) - 4)
            f.write(b"tail")
        return subprocess.run(["tar", "-C", d, "--sparse", f"--format={form}", "--numeric-owner", "--owner=0", "--group=0",
            "--mtime=@1600000000", "--transform=s,^,strange/,", "-cf", "-", "sparse"], stdout=subprocess.PIPE, check=True).stdout


def strange():
    with open("/bin/cat", "rb") as f:
        cat = f.read()
    latin, broken = b"strange/caf\xe9", b"strange/\xff\xfe\x80 broken"
    one = Tar().dir("strange", mode=0o1777).dir("strange/secret", mode=0o711).add("strange/secret/file", data=b"for root alone\n", mode=0o600)
    one.add("strange/cat-setuid", data=cat, mode=0o4755).add("strange/cat-plain", data=cat, mode=0o755)
    one.add("strange/cat-setgid", data=cat, mode=0o2755, gid=4242).add("strange/for-group", data=b"for 4242\n", mode=0o640, gid=4242)
    one.add("strange/cat-capable", data=cat, mode=0o755, pax_headers={"SCHILY.xattr.security.capability": capability(CAP_DAC_OVERRIDE),
        "SCHILY.xattr.user.note": "of a program"})
    for name in latin, broken:
        one.add(name.decode("utf-8", "surrogateescape"), data=b"found")
    one.link("strange/self", "self").link("strange/ping", "pong").link("strange/pong", "ping").link("strange/up", "..")
    one.link("strange/around", "up/strange/up/strange/self-name").add("strange/self-name", data=b"around")
    one.hard("strange/self-hard", "strange/self")                      # a hard link to a symbolic link
    one.link("strange/to-latin", latin[8:].decode("utf-8", "surrogateescape"))
    one.add("strange/fifo", tarfile.FIFOTYPE, mode=0o666).add("strange/zero", tarfile.CHRTYPE, devmajor=1, devminor=5, mode=0o666)
    one.add("strange/disk", tarfile.BLKTYPE, devmajor=259, devminor=70000, mode=0o600)
    one.add("strange/scratch", tarfile.BLKTYPE, devmajor=254, devminor=0, mode=0o666)   # the pod's own disk, as its guest calls it
    one.add("strange/-rf").add("strange/ ").add("strange/\t\x01\x7f").add("strange/*?[a]").add("strange/a:b,c=d").add("strange/\\")
    one.add("strange/...").add("strange/.wh_no_whiteout", data=b"kept").add("strange/wh.not", data=b"kept")
    one.dir("strange/becomes-link").add("strange/becomes-link/lost").link("strange/becomes-dir", "secret")
    one.add("strange/twin-a", data=b"twins").hard("strange/twin-b", "strange/twin-a")
    one.dir("strange/tree").add("strange/tree/one", data=b"1").dir("strange/tree/sub").add("strange/tree/sub/two", data=b"2")
    one.add("strange/removed-and-back", data=b"first")
    two = Tar().link("strange/becomes-link", "tree").dir("strange/becomes-dir").add("strange/becomes-dir/own", data=b"own")
    two.add("strange/.wh.twin-a").add("strange/.wh.removed-and-back").add("strange/tree/sub/.wh.two")
    two.add("strange/tree/sub/three", data=b"3").dir("strange/tree", mode=0o700, uid=7)
    three = Tar().add("strange/removed-and-back", data=b"again").hard("strange/twin-c", "strange/twin-b")
    return [(one.bytes(), "+gzip"), (two.bytes(), "+zstd"), (three.bytes(), ""), (sparse("pax"), "+gzip")]


def hundred(below):
    layers = []
    for i in range(below, 100):
        t = Tar().add("layers/last", data=str(i).encode()).add(f"layers/kept{i}", data=b"x" * i).add(f"layers/brief{i}")
        if i > below:
            t.add(f"layers/.wh.brief{i - 1}")
        layers.append((t.bytes(), ("", "+gzip", "+zstd")[i % 3]))
    return layers


def deep():
    layers = []
    for i in range(127):
        t = Tar().add("last", data=str(i).encode()).add(f"layer{i}")
        if i > 0:
            t.add(f".wh.layer{i - 1}")
        layers.append((t.bytes(), "+gzip" if i % 2 else ""))
    return layers


def main(kind, path, base=None):
    layout, name = Layout(path), f"docker.io/odd/{kind}:latest"
    if base:
        layout.based_on(base)
    if kind in ("odd", "strange", "deep"):
        images = [layout.image({"odd": odd, "strange": strange, "deep": deep}[kind]())]
    elif kind == "hundred":
        images = [layout.image(hundred(len(layout.base[0])))]
    elif kind == "zstd":
        images = [layout.image([(Tar().add("a", data=b"1").add("b", data=b"2").bytes(), "+gzip"),
                                (Tar().add("a", data=b"zstd").bytes(), "+zstd")])]
    elif kind in ("index", "foreign"):
        entries = []
        for arch in ("s390x",) if kind == "foreign" else ("s390x", "arm64", "amd64"):
            d = layout.image([(Tar().add("arch", data=arch.encode()).bytes(), "+gzip")], arch)
            entries.append({**d, "platform": {"os": "linux", "architecture": arch}})
        index = layout.blob(json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries}).encode())
        images = [{"mediaType": "application/vnd.oci.image.index.v1+json", **index}]
    elif kind == "sparse":
        images = [layout.image([(sparse("gnu"), "")])]
    elif kind == "longname":
        images = [layout.image([(Tar().add("n" * 255).bytes(), "")])]
    elif kind == "broken":
        images = [layout.image([(Tar().add("a", data=b"1" * 5000).bytes(), "+gzip")], spoil=True)]
    else:
        sys.exit(__doc__)
    layout.finish(images, name)


main(*sys.argv[1:])
