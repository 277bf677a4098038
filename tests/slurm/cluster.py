"""A private SLURM cluster of two nodes on this machine: its own folder, ports, key and daemons.

Debian's packages slurmctld, slurmd, slurm-client and munge are enough; no root, systemd, cgroups
or /etc/slurm. Two partitions: jobs in `urgent` preempt those in `train`, which are requeued.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

NODES = ("127.0.0.11", "127.0.0.12")  # names that can be connected to without /etc/hosts
GPUS = 2  # on each node, for show
GRACE_SECONDS = 60
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"  # where Debian puts the daemons

CONFIGURATION = """
ClusterName={name}
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
{listen}
AuthType=auth/munge
CredType=cred/munge
# A requeued job waits for cred_expire and a second; the default is 120, 5 the least allowed.
AuthInfo=cred_expire=5,socket={folder}/munge/socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
# Finds the launcher's children too, which lead sessions of their own.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=20
MinJobAge=3600
ReturnToService=2
# Nodes may claim more than this machine has.
SlurmdParameters=config_overrides
PropagateResourceLimits=NONE
MpiDefault=none
MailProg=/bin/true
GresTypes=gpu
{nodes}
PartitionName=train Nodes=ALL Default=YES PriorityTier=1 GraceTime={grace} State=UP
PartitionName=urgent Nodes=ALL PriorityTier=2 PreemptMode=OFF State=UP
"""


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.1)


def _free_ports(count: int) -> int:
    """The first of `count` free ports in a row."""
    for first in range(31000, 32000, 10):
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return first
    raise AssertionError("no free ports between 31000 and 32000")


class Cluster:
    """Start it with `with Cluster() as cluster`."""

    def __init__(self) -> None:
        # The daemons' sockets allow 108 characters, so that pytest's folders are too deep.
        base = tempfile.gettempdir()
        folder = tempfile.mkdtemp(prefix="slurm.", dir=base if len(base) < 40 else "/tmp")
        self.folder = Path(folder)
        self.name = self.folder.name.replace(".", "").lower()
        self.env = {**os.environ, "PATH": PATH, "SLURM_CONF": str(self.folder / "slurm.conf")}

    def __enter__(self) -> "Cluster":
        try:
            self._configure()
            munge = self.folder / "munge"
            # --force: the folder above is nobody else's.
            files = [f"--{n}-file={munge / n}" for n in ("key", "log", "pid", "seed")]
            self._daemon("munged", "--force", f"--socket={munge}/socket", *files)
            self._daemon("slurmctld")
            for node in NODES:
                self.start_node(node)
            self._refuse_another()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _configure(self) -> None:
        for name in ("munge", "state", *(f"spool/{node}" for node in NODES)):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "munge/key").write_bytes(os.urandom(128))
        (self.folder / "munge/key").chmod(0o600)
        for path in (self.folder, *self.folder.glob("**/")):  # mkdtemp's is for its owner alone
            path.chmod(0o755)
        for i in range(GPUS):  # they have to be devices
            (self.folder / f"gpu{i}").symlink_to("/dev/null")
        gpus = f"Name=gpu File={self.folder}/gpu[0-{GPUS - 1}]\n"
        (self.folder / "gres.conf").write_text(gpus)
        port = _free_ports(3)
        nodes = [
            f"NodeName={node} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port + 1 + i} "
            f"CPUs=8 RealMemory=65536 Gres=gpu:{GPUS} State=UNKNOWN"
            for i, node in enumerate(NODES)
        ]
        # Both keep the daemons on the loopback interface, where the host's name stands for it.
        loopback = socket.gethostbyname(socket.gethostname()).startswith("127.")
        listen = "CommunicationParameters=NoInAddrAny,NoCtldInAddrAny" if loopback else ""
        user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout
        text = CONFIGURATION.format(
            name=self.name, port=port, user=user.strip(), listen=listen, folder=self.folder,
            nodes="\n".join(nodes), grace=GRACE_SECONDS,
        )  # fmt: skip
        (self.folder / "slurm.conf").write_text(text)

    def _daemon(self, *words: str) -> None:
        with (self.folder / "daemons.log").open("a") as log:
            subprocess.run(
                words, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True
            )

    def start_node(self, node: str) -> None:
        self._daemon("slurmd", "-N", node)
        wait_until(lambda: "idle" in self.run("sinfo", "-hN", "-n", node), 30, f"{node} is idle")

    def _refuse_another(self) -> None:
        shown = self.run("scontrol", "show", "config")
        for line in (f"ClusterName += {self.name}", f"SLURM_CONF += {self.env['SLURM_CONF']}"):
            assert re.search(rf"^{line}$", shown, re.M), f"another cluster answers: {shown}"

    def run(self, *words: str, cwd: Path | None = None, **env: str) -> str:
        done = subprocess.run(
            words, env={**self.env, **env}, cwd=cwd, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def submit(self, *words: str, cwd: Path | None = None, **env: str) -> str:
        """sbatch; returns the job's id."""
        return self.run("sbatch", "--parsable", *words, cwd=cwd, **env).strip()

    def job(self, job: str) -> dict[str, str]:
        """What `scontrol show job` says."""
        shown = self.run("scontrol", "-o", "show", "job", job)
        return dict(re.findall(r"(\w+)=(\S*)", shown))

    def wait(self, job: str, seconds: float = 240) -> dict[str, str]:
        """Until the job has left the queue; its last state."""
        wait_until(lambda: not self.run("squeue", "-h", "-j", job), seconds, f"job {job} has ended")
        return self.job(job)

    def processes(self, node: str) -> set[int]:
        """slurmd, the jobs' processes on a node, and their slurmstepds."""
        found = set()
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                variables = (entry / "environ").read_bytes().split(b"\0")
                if f"SLURM_CONF={self.env['SLURM_CONF']}".encode() not in variables:
                    continue
                if words[0].endswith(b"slurmd") and node.encode() in words:
                    found.add(int(entry.name))
                if f"SLURMD_NODENAME={node}".encode() in variables:
                    found.add(int(entry.name))
                    # slurmstepd has written its title over its variables.
                    parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
                    if Path(f"/proc/{parent}/cmdline").read_bytes().startswith(b"slurmstepd:"):
                        found.add(int(parent))
        return found

    def kill_node(self, node: str) -> None:
        """As a power cut does: all at once, so that none of them can tell that another is gone."""
        for number in (signal.SIGSTOP, signal.SIGSTOP, signal.SIGKILL):  # twice: some have forked
            for process in self.processes(node):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, number)
        # As the controller would by itself, after SlurmdTimeout.
        self.run("scontrol", "update", f"nodename={node}", "state=down", "reason=killed")

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
            self.run("scancel", "--user", str(os.getuid()))
            wait_until(lambda: not self.run("squeue", "-h"), 30, "the queue is empty")
        for process in set().union(*map(self.processes, NODES)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        for name in ("slurmctld.pid", "munge/pid"):
            with contextlib.suppress(OSError, ValueError):
                process = int((self.folder / name).read_text())
                if str(self.folder).encode() in Path(f"/proc/{process}/environ").read_bytes():
                    os.kill(process, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)
