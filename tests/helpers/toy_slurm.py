"""A toy Slurm on one machine: a real slurmctld and two slurmds that each claim to be a node with two GPUs.

It needs root and the packages slurm-wlm and munge, and lives in one folder: nothing is written to /etc, and each folder
has its own ports. Memory limits are enforced by polling, so that no cgroups are needed; a job of partition `urgent`
preempts one of `debug`; node2 alone has the feature `large`; a job may belong to any account.

    python tests/helpers/toy_slurm.py start FOLDER     # prints what to export
    python tests/helpers/toy_slurm.py stop FOLDER
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol")
HOW_TO_INSTALL = "apt-get install --no-install-recommends slurm-wlm slurm-client munge"
NODES = ("node1", "node2")
CPUS, MEMORY_MIB = 4, 16000  # what each node claims to have, whatever the machine has
SECONDS_TO_START = 60
DAEMONS = ("slurmd.node1", "slurmd.node2", "slurmctld", "munged")

# GPUs need device files, and nothing is done with them: those that every machine has.
GRES = """AutoDetect=off
NodeName=node1 Name=gpu Type=toy File=/dev/null
NodeName=node1 Name=gpu Type=toy File=/dev/zero
NodeName=node2 Name=gpu Type=toy File=/dev/full
NodeName=node2 Name=gpu Type=toy File=/dev/random
"""
CGROUP = "CgroupPlugin=cgroup/v1\nCgroupAutomount=no\nConstrainCores=no\nConstrainRAMSpace=no\nConstrainDevices=no\n"


def missing() -> str | None:
    """Return what keeps the toy from starting, with the remedy; None if nothing does."""
    if absent := [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]:
        return f"{', '.join(absent)} not found; install Slurm: {HOW_TO_INSTALL}"
    return None if os.geteuid() == 0 else "the toy Slurm starts its daemons as root; run this as root"


def start(folder: Path) -> None:
    """Start the daemons and wait until both nodes are idle; raise RuntimeError with the logs if they are not."""
    for name in ("bin", "log", "run", "state", *(f"spool/{node}" for node in NODES)):
        (folder / name).mkdir(parents=True)
    _write_files(folder)
    munge = {"socket": "run/munge", "pid-file": "run/munged.pid", "log-file": "log/munged", "seed-file": "run/seed"}
    options = [f"--{name}={folder / path}" for name, path in munge.items()]
    _call(folder, "munged", "--force", f"--key-file={folder / 'munge.key'}", *options)
    _call(folder, "slurmctld")
    for node in NODES:
        _call(folder, "slurmd", "-N", node)
    waiting_until = time.monotonic() + SECONDS_TO_START
    while _call(folder, "sinfo", "-h", "-N", "-p", "debug", "-t", "idle", "-o", "%N").split() != list(NODES):
        if time.monotonic() > waiting_until:
            logs = "\n".join(path.read_text()[-2000:] for path in (folder / "log").iterdir())
            raise RuntimeError(f"the toy Slurm has not started:\n{logs}")
        time.sleep(0.1)


def stop(folder: Path) -> None:
    """End the daemons that `start` started, by their ids, after the jobs that still run."""
    _call(folder, "scancel", "--full", "--user", "root")
    _call(folder, "scancel", "--full", "--signal", "KILL", "--user", "root")
    for name in DAEMONS:
        process = folder / "run" / f"{name}.pid"
        if process.is_file():
            os.kill(int(process.read_text()), signal.SIGTERM)


def environment(folder: Path) -> dict[str, str]:
    """Return the variables that programs need to find this Slurm."""
    return os.environ | {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": f"{folder / 'bin'}:{_path()}"}


def _path() -> str:
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


def _call(folder: Path, *command: str) -> str:
    found = subprocess.run(command, env=environment(folder), text=True, capture_output=True, check=False)
    if found.returncode != 0 and command[0] not in ("sinfo", "scancel"):
        raise RuntimeError(f"{' '.join(command)}: {found.stdout}{found.stderr}")
    return found.stdout


def _write_files(folder: Path) -> None:
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    (folder / "gres.conf").write_text(GRES)
    (folder / "cgroup.conf").write_text(CGROUP)
    (folder / "slurm.conf").write_text(_slurm_conf(folder))
    # Inside its jobs, Snakemake's plugin calls srun without any variable of Slurm.
    srun = folder / "bin/srun"
    srun.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {shutil.which("srun", path=_path())} "$@"\n')
    srun.chmod(0o755)


def _slurm_conf(folder: Path) -> str:
    host = socket.gethostname().partition(".")[0]
    controller, *ports = _free_ports(1 + len(NODES))
    size = f"NodeHostname={host} NodeAddr=127.0.0.1 CPUs={CPUS} RealMemory={MEMORY_MIB} Gres=gpu:toy:2"
    return f"""ClusterName=toy
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/run/munge
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd.%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.%n.log
SlurmdParameters=config_overrides
ReturnToService=0
KillWait=2
MinJobAge=600
OverTimeLimit=0
MpiDefault=none
SwitchType=switch/none
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=node1 Port={ports[0]} {size}
NodeName=node2 Port={ports[1]} {size} Feature=large
PartitionName=debug Nodes=node1,node2 Default=YES PriorityTier=1
PartitionName=urgent Nodes=node1,node2 PriorityTier=10
PartitionName=gpu Nodes=node2 PriorityTier=1
"""


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for found in sockets:
            found.bind(("127.0.0.1", 0))
        return [found.getsockname()[1] for found in sockets]
    finally:
        for found in sockets:
            found.close()


if __name__ == "__main__":
    task, place = sys.argv[1], Path(sys.argv[2]).resolve()
    if problem := missing():
        sys.exit(problem)
    {"start": start, "stop": stop}[task](place)
    if task == "start":
        print(f"export SLURM_CONF={place}/slurm.conf PATH={place}/bin:$PATH")
