#!/usr/bin/env bash
# one_node.sh SRUN-ARGUMENTS: runs srun in a Slurm of this machine alone, started for it in a folder that goes away.
# Needs root, and the packages slurm-wlm, slurm-wlm-basic-plugins and munge.
set -euo pipefail

for tool in munged slurmctld slurmd srun; do
  command -v "$tool" >/dev/null || { echo "one_node.sh: there is no $tool" >&2; exit 77; }
done
[ "$(id -u)" = 0 ] || { echo "one_node.sh: not root" >&2; exit 77; }

folder=$(mktemp -d)
chmod 700 "$folder"
mkdir "$folder/state" "$folder/spool"
node=$(hostname -s)
# Ports of this process, so that several of these do not meet.
port=$((20000 + $$ % 20000))

stop() {
  local daemon pid pids=()
  for daemon in slurmd slurmctld munged; do
    [ ! -s "$folder/$daemon.pid" ] || pids+=("$(cat "$folder/$daemon.pid")")
  done
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  # Not kill -0: where nobody collects them, ended daemons stay in the table.
  for pid in "${pids[@]}"; do
    for _ in $(seq 100); do
      readlink "/proc/$pid/exe" >/dev/null 2>&1 || break
      sleep 0.1
    done
  done
  rm -rf "$folder"
}
trap stop EXIT

head -c 1024 /dev/urandom >"$folder/munge.key"
chmod 600 "$folder/munge.key"
munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" --pid-file="$folder/munged.pid" \
  --seed-file="$folder/munge.seed" --log-file="$folder/munged.log"

cat >"$folder/slurm.conf" <<CONF
ClusterName=one_node
SlurmctldHost=$node(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
KillOnBadExit=1
NodeName=$node NodeAddr=127.0.0.1 CPUs=16
PartitionName=all Nodes=ALL Default=YES
CONF
export SLURM_CONF=$folder/slurm.conf
slurmctld
slurmd
for _ in $(seq 100); do
  [ "$(sinfo -h -o %T 2>/dev/null)" = idle ] && break
  sleep 0.2
done
srun --mpi=pmix --overcommit "$@"
