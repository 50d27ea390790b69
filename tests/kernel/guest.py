#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""guest.py - run a command under another kernel: one of Debian's, in an emulated machine, with our files

    guest.py fetch SERIES               get the newest kernel of a series (6.1), print its package
    guest.py run [--systemd] SERIES -- COMMAND      run a command there, as root; its output and exit status are ours
    guest.py check COMMAND              run a command under every kernel that ladon promises to work on,
                                        at once; exit status 77: one of them could not be had

The guest's root is the host's, over 9p and read-only, with a tmpfs over it for
whatever it writes: all tools are at hand, and nothing in there reaches the host.
It has one CPU, since two emulated ones cost half as much again and are no faster,
and no network but what it makes for itself. Emulated (TCG) on
purpose: it works everywhere, also where /dev/kvm exists and does not boot.

init runs in the initramfs and mounts that root, start runs in it and runs the
command. Kernels are downloaded, unpacked and never installed on the host; they
are kept below the build directory (LADON_BUILD).
"""
import argparse
import concurrent.futures
import contextlib
import lzma
import os
import re
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.join(ROOT, os.environ.get("LADON_BUILD", "build"))
STORE = os.path.join(BUILD, "kernel")

SERIES = ("6.1", "6.12")
TOOLS = ("qemu-system-x86_64", "busybox", "cpio", "modprobe", "depmod", "zstd", "setpriv", "dpkg")
SKIPPED = 77  # the exit status that test harnesses agree on

BOOT_SECONDS = 30  # on top of what the command may take
MEMORY_MB = 1024
# What init needs before it can see the host's root; modprobe finds the rest there.
MODULES = ("virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay")
PAYLOAD = 0x248  # struct setup_header, payload_offset and payload_length: Documentation/arch/x86/boot.rst
SETUP_SECTS = 0x1F1


class Failed(Exception):
    """With a sentence for people."""


class Lacking(Failed):
    """What is needed to try it is not to be had here."""


def run(*argv, **kwargs):
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=600,
                          check=False, **kwargs)
    if done.returncode:
        raise Failed(f"{' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout


def tools_check():
    """Raise Lacking unless this machine can run a guest."""
    if os.uname().machine != "x86_64":
        raise Lacking("the guest runs the host's own programs: only on x86-64")
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        raise Lacking(f"not installed: {', '.join(missing)}")


# ---- the kernel ----

def newest(names):
    """The package whose version is the highest; None of none."""
    return max(names, key=lambda name: [int(n) for n in re.findall(r"\d+", name)], default=None)


def find(series):
    """The newest package of a series that apt knows or that was unpacked before; None: there is none."""
    # not -cloud-amd64, which has no 9p, nor -rt-amd64, nor what follows -amd64
    pattern = rf"^linux-image-{re.escape(series)}\.[0-9][0-9+deb.-]*-amd64$"
    known = {line.split()[0] for line in run("apt-cache", "search", "--names-only", pattern).splitlines()}
    kept = set(os.listdir(STORE)) if os.path.isdir(STORE) else set()
    return newest({name for name in known | kept if re.match(pattern, name)})


def unpack_vmlinux(vmlinuz):
    """The ELF file inside a bzImage. Booted by PVH it skips the real-mode start and its own unpacking."""
    with open(vmlinuz, "rb") as file:
        image = file.read()
    start, length = struct.unpack_from("<II", image, PAYLOAD)
    start += (image[SETUP_SECTS] + 1) * 512
    payload = image[start:start + length]
    if payload.startswith(b"\xfd7zXZ"):
        return lzma.LZMADecompressor().decompress(payload)
    if payload.startswith(b"\x28\xb5\x2f\xfd"):
        # the last four bytes are the unpacked length, not zstd's
        return subprocess.run(("zstd", "-dc"), input=payload[:-4], stdout=subprocess.PIPE, check=True,
                              timeout=60).stdout
    raise Failed(f"{vmlinuz}: neither xz nor zstd")


def module_order(tree, release):
    """Paths of the modules that init loads, each after those that it needs."""
    argv = ("modprobe", "-d", tree, "-S", release, "--show-depends", "-a", *MODULES)
    lines = [line.split() for line in run(*argv).splitlines()]
    return list(dict.fromkeys(words[1] for words in lines if words[0] == "insmod"))


def make_initramfs(tree, out):
    """busybox, init and a few modules, as a cpio archive."""
    release, = os.listdir(os.path.join(tree, "lib/modules"))
    with tempfile.TemporaryDirectory(prefix="initramfs-", dir=STORE) as stage:
        for name in ("bin", "modules", "dev", "proc", "lower", "rw", "new"):
            os.mkdir(os.path.join(stage, name))
        shutil.copy(shutil.which("busybox"), os.path.join(stage, "bin/busybox"))
        shutil.copy(os.path.join(HERE, "init"), stage)
        for i, path in enumerate(module_order(tree, release)):
            opened = lzma.open(path) if path.endswith(".xz") else open(path, "rb")
            with opened as module, open(os.path.join(stage, f"modules/{i:02}.ko"), "wb") as to:
                shutil.copyfileobj(module, to)
        files = "\n".join(os.path.relpath(os.path.join(at, name), stage)
                          for at, dirs, names in os.walk(stage) for name in dirs + names)
        run("cpio", "-o", "-H", "newc", "-F", out, "--quiet", cwd=stage, input=files + "\n")


def fetch(series):
    """Download, unpack and prepare the newest kernel of a series, unless it was before. Return: its directory."""
    package = find(series)
    if not package:
        raise Lacking(f"no Linux {series} among Debian's packages (apt-get update?)")
    home = os.path.join(STORE, package)
    if os.path.exists(os.path.join(home, "vmlinux")):
        return home
    shutil.rmtree(home, ignore_errors=True)
    os.makedirs(home)
    tree = os.path.join(home, "tree")
    # apt's own user may not write to where we build
    try:
        run("apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package, cwd=home)
    except Failed as error:
        raise Lacking(str(error)) from None
    deb, = (name for name in os.listdir(home) if name.endswith(".deb"))
    run("dpkg", "-x", os.path.join(home, deb), tree)
    os.unlink(os.path.join(home, deb))
    release, = os.listdir(os.path.join(tree, "lib/modules"))
    run("depmod", "-b", tree, release)
    vmlinux = unpack_vmlinux(os.path.join(tree, "boot", f"vmlinuz-{release}"))
    with open(os.path.join(home, "part"), "wb") as file:
        file.write(vmlinux)
    os.rename(os.path.join(home, "part"), os.path.join(home, "vmlinux"))  # last: it is complete now
    return home


# ---- the machine ----

def qemu(home, job, out_fd, systemd):
    """The command line. out_fd: what the guest's command says goes there."""
    append = ("console=ttyS0 quiet loglevel=4 panic=-1 rdinit=/init "
              f"MODULES={home}/tree/lib/modules START={HERE}/start JOB={job}{' SYSTEMD=1' * systemd}")
    return ["setpriv", "--pdeathsig", "KILL",  # whatever becomes of us, it does not stay
            "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-machine", "pc", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", str(MEMORY_MB),
            "-kernel", f"{home}/vmlinux", "-initrd", f"{job}/initramfs", "-append", append,
            "-serial", f"file:{job}/console",
            "-fsdev", "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap",
            "-device", "virtio-9p-pci,fsdev=root,mount_tag=root",
            "-device", "virtio-serial-pci",
            # a chardev on stdio stalls the guest when stdin is /dev/null: hand over a descriptor;
            # append: a pipe cannot be truncated
            "-add-fd", f"fd={out_fd},set=1",
            "-chardev", "file,id=out,path=/dev/fdset/1,append=on", "-device", "virtserialport,nr=1,chardev=out",
            "-chardev", f"file,id=status,path={job}/status", "-device", "virtserialport,nr=2,chardev=status"]


def write_job(job, argv):
    """What start reads: the command, in the directory and with the variables of whoever asked."""
    with open(os.path.join(job, "command"), "w") as file:
        file.write(f"cd {shlex.quote(os.getcwd())} || exit 1\n"
                   f"export LADON_BUILD={shlex.quote(BUILD)}\n"
                   f"exec {shlex.join(argv)}\n")


def read(path):
    """The text of a file that may not be there."""
    try:
        with open(path, errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def boot(home, argv, seconds, out_fd, systemd=False):
    """Run a command under a fetched kernel. Return: its exit status.

    systemd: as a unit of it; else the command is all that runs there.

    out_fd: for writing only, what the command says goes there; ours again when we return.
    """
    job = tempfile.mkdtemp(prefix="job-", dir=STORE)
    write_job(job, argv)
    make_initramfs(f"{home}/tree", f"{job}/initramfs")
    machine = subprocess.Popen(qemu(home, job, out_fd, systemd), pass_fds=(out_fd,), stdin=subprocess.DEVNULL)
    try:
        machine.wait(seconds + BOOT_SECONDS)
    except subprocess.TimeoutExpired:
        raise Failed(f"not done within {seconds + BOOT_SECONDS:g} seconds\n{read(job + '/console')[-4000:]}") from None
    else:
        status = read(job + "/status")
        if not status:
            raise Failed(f"the guest ended before its command\n{read(job + '/console')[-4000:]}")
        return int(status)
    finally:
        machine.kill()
        machine.wait()
        shutil.rmtree(job)


@contextlib.contextmanager
def copied_to_stdout():
    """A descriptor for boot(): our stdout may be a file or terminal that must not be opened again."""
    copier = subprocess.Popen("cat", stdin=subprocess.PIPE)
    try:
        yield copier.stdin.fileno()
    finally:
        copier.stdin.close()
        copier.wait()


# ---- all of them ----

def judge(home, argv, seconds):
    """Boot one, and print what came of it when it is done: they run side by side. Return: did all go well?"""
    path = os.path.join(STORE, f"{os.path.basename(home)}.log")
    complaint, status = "", 1
    with open(path, "wb") as out:
        try:
            status = boot(home, argv, seconds, out.fileno())
        except Failed as error:
            complaint = f"guest: {error}\n"
    print(f"== {os.path.basename(home)}\n{read(path)}{complaint}", end="", flush=True)
    return status == 0


def check(argv, seconds):
    """Run a command under each kernel of SERIES. Return: the exit status."""
    lacking = {}
    with concurrent.futures.ThreadPoolExecutor() as pool:
        outcomes = {}
        for series in SERIES:
            try:
                outcomes[series] = pool.submit(judge, fetch(series), argv, seconds)
            except Lacking as error:
                lacking[series] = error
    failed = [series for series, outcome in outcomes.items() if not outcome.result()]
    for series, error in lacking.items():
        print(f"guest: {series}: NOT RUN: {error}", file=sys.stderr)
    if failed:
        print(f"guest: failed on {', '.join(failed)}", file=sys.stderr)
        return 1
    return SKIPPED if lacking else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, default=300, help="what the command may take (%(default)g)")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("fetch", "run"):
        verbs.add_parser(verb).add_argument("series")
    verbs.add_parser("check")
    verbs.choices["run"].add_argument("--systemd", action="store_true", help="its first process is the host's systemd")
    for verb in ("run", "check"):
        verbs.choices[verb].add_argument("command", nargs=argparse.REMAINDER)
    args = parser.parse_args()
    argv = [word for i, word in enumerate(getattr(args, "command", ())) if i or word != "--"]
    os.makedirs(STORE, exist_ok=True)
    try:
        tools_check()
        if args.verb == "check":
            return check(argv, args.seconds)
        home = fetch(args.series)
        if args.verb == "run":
            with copied_to_stdout() as out_fd:
                return boot(home, argv, args.seconds, out_fd, args.systemd)
        print(os.path.basename(home))
        return 0
    except Lacking as error:
        print(f"guest: NOT RUN: {error}", file=sys.stderr)
        return SKIPPED
    except Failed as error:
        print(f"guest: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
