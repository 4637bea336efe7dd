# SPDX-License-Identifier: Apache-2.0
"""Runs in a pod of the image that odd_image.py makes as "strange", as root: looks at what lies in /strange, uses it, changes
it. Every line that fails is printed; the exit code is how many."""
import errno, os, stat, subprocess, sys, threading

os.chdir("/strange")
failures = 0


def check(what, got, wanted):
    global failures
    if got != wanted:
        failures += 1
        print(f"{what}: {got!r} instead of {wanted!r}")


def refused(what, number, call, *args):
    try:
        call(*args)
        check(what, "worked", errno.errorcode[number])
    except OSError as e:
        check(what, errno.errorcode[e.errno], errno.errorcode[number])


def read(path):
    with open(path, "rb") as f:
        return f.read()


def kind(path):
    s = os.lstat(path)
    return stat.filemode(s.st_mode), s.st_uid, s.st_gid


def as_user(*command, uid=1000):
    """What a command prints for somebody who is not root."""
    p = subprocess.run(command, user=uid, group=uid, extra_groups=[], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return p.stdout if p.returncode == 0 else None


# Names
for name in b"caf\xe9", b"\xff\xfe\x80 broken", b"-rf", b" ", b"\t\x01\x7f", b"*?[a]", b"a:b,c=d", b"\\", b"...":
    check(f"{name} is listed", name in os.listdir(b"."), True)
for name in b"caf\xe9", b"\xff\xfe\x80 broken":
    check(name, read(name), b"found")
check("a name that begins like a whiteout", read(".wh_no_whiteout"), b"kept")

# Links
check("a link to a name that is no UTF-8", read("to-latin"), b"found")
check("a link through links", read("around"), b"around")
for name in "self", "ping", "self-hard":
    refused(f"loop {name}", errno.ELOOP, os.stat, name)
check("a hard link to a link", (os.lstat("self").st_ino, os.lstat("self").st_nlink), (os.lstat("self-hard").st_ino, 2))
check("twins", (os.path.exists("twin-a"), os.stat("twin-b").st_nlink, os.path.samefile("twin-b", "twin-c")), (False, 2, True))

# What later layers changed
check("a folder became a link", os.readlink("becomes-link"), "tree")
check("a link became a folder", (kind("becomes-dir")[0], os.listdir("becomes-dir")), ("drwxr-xr-x", ["own"]))
check("removed and back", read("removed-and-back"), b"again")
check("a folder's new owner", kind("tree"), ("drwx------", 7, 0))
check("its contents", sorted(os.listdir("tree")) + sorted(os.listdir("tree/sub")), ["one", "sub", "three"])

# Modes that mean something
check("sticky", kind(".")[0], "drwxrwxrwt")
secret = "/strange/secret/file"
check("plain cat", as_user("/strange/cat-plain", secret), None)
check("set-user-id cat", as_user("/strange/cat-setuid", secret), b"for root alone\n")
check("capable cat", as_user("/strange/cat-capable", secret), b"for root alone\n")
check("set-group-id cat", as_user("/strange/cat-setgid", "/strange/for-group"), b"for 4242\n")
check("plain cat and a group's file", as_user("/strange/cat-plain", "/strange/for-group"), None)
check("an attribute", os.getxattr("cat-capable", "user.note"), b"of a program")

# Special files
check("a pipe", kind("fifo")[0], "prw-rw-rw-")
said = []
reader = threading.Thread(target=lambda: said.append(read("fifo")))
reader.start()
with open("fifo", "wb") as f:
    f.write(b"through the pipe")
reader.join()
check("through the pipe", said, [b"through the pipe"])
check("a device", (kind("zero")[0], os.lstat("zero").st_rdev), ("crw-rw-rw-", os.makedev(1, 5)))
check("a device with large numbers", (kind("disk")[0], os.lstat("disk").st_rdev), ("brw-------", os.makedev(259, 70000)))
for name in "disk", "scratch":
    refused(f"{name}: a disk that is not the container's", errno.EPERM, os.open, name, os.O_RDONLY)
with open("sparse", "rb") as f:
    data = f.read()
check("a file with a hole", (len(data), data[:4], data[-4:], data.count(0)), (8 << 20, b"head", b"tail", (8 << 20) - 8))

# Changes: the image's files move up into the pod's own layer with all that they are
with open("twin-b", "ab") as f:
    f.write(b" changed")
check("what was changed", read("twin-b"), b"twins changed")
os.chmod("cat-capable", 0o711)
check("capable cat after a change of its mode", as_user("/strange/cat-capable", secret), b"for root alone\n")
os.rename(b"caf\xe9", b"caf\xe8")
check("a new name", read(b"caf\xe8"), b"found")
os.unlink("tree/one"), os.unlink("tree/sub/three"), os.rmdir("tree/sub"), os.rmdir("tree")
os.mkdir("tree")
check("a folder removed and made again", os.listdir("tree"), [])
os.unlink("becomes-link")
os.symlink(b"\xf0\x28\x8c", "becomes-link")
check("a link to anything", os.readlink(b"becomes-link"), b"\xf0\x28\x8c")
os.mkfifo("own-fifo")
os.setxattr("twin-c", "user.own", b"\x00\xff")
check("an attribute of one's own", os.getxattr("twin-c", "user.own"), b"\x00\xff")
with open("own-hole", "wb") as f:
    f.truncate(1 << 40)
check("a hole of 1 TiB", (os.stat("own-hole").st_size, os.stat("own-hole").st_blocks), (1 << 40, 0))
print("everything was looked at" if not failures else f"{failures} things are wrong")
sys.exit(min(failures, 100))
