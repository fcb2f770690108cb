#!/bin/bash
# cluster.sh COMMAND...: runs a command beside a Slurm cluster of one node, and ends with its status.
#
# The cluster is real, small and this command's own: munged, slurmctld and slurmd in a folder of their own, on two free
# ports of the loopback. Everything of it is gone afterwards. It is asked for by:
#   TRACKER    how Slurm finds a job's processes: linuxproc (default), pgid or cgroup (root; version 1 where there is a freezer of it,
#              or version 2)
#   CPUS       how many jobs run at once (8); KILL_WAIT: the seconds between SIGTERM and SIGKILL (15)
set -u
TRACKER=${TRACKER:-linuxproc} CPUS=${CPUS:-8} KILL_WAIT=${KILL_WAIT:-15}
PATH=/usr/sbin:/sbin:$PATH
give_up() { echo "slurm: $1" >&2; exit 69; }
for program in munged slurmctld slurmd sbatch scontrol squeue; do
    command -v $program > /dev/null || give_up "$program is missing: run harness/setup.sh slurm"
done
# Slurm's daemons look at control groups whatever the tracker is. Where systemd runs, they ask it.
groups=
if [ -d /sys/fs/cgroup/freezer ]; then groups=1
elif [ -w /sys/fs/cgroup/cgroup.subtree_control ] && [ ! -d /run/systemd/system ]; then
    groups=2
    # What systemd would have made.
    mkdir -p /sys/fs/cgroup/system.slice
    for place in /sys/fs/cgroup /sys/fs/cgroup/system.slice; do
        echo '+cpuset +cpu +memory' > $place/cgroup.subtree_control
    done
elif [ "$TRACKER" = cgroup ] && [ ! -d /run/systemd/system ]; then give_up 'this machine has no control groups that Slurm can use'
fi

# A short name: Slurm makes Unix sockets in it.
dir=$(mktemp -d /tmp/slurm.XXXXXX) || exit 70
chmod 755 "$dir"
mkdir "$dir/spool" "$dir/state" "$dir/log" "$dir/munge"
# A machine with nothing but its loopback does not look up its own name, and the outer machine is one.
if [ -n "${BOTTLE_OUTER:-}" ]; then
    ip link add slurm0 type dummy && ip addr add 192.0.2.1/32 dev slurm0 && ip link set slurm0 up
fi
host=$(hostname -s) me=$(id -un)
is_free() { ! (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null; }
port=0
until [ $port != 0 ] && is_free $port && is_free $((port + 1)); do port=$((20000 + RANDOM % 20000)); done
node=bottle$port
(umask 077; head -c 64 /dev/urandom > "$dir/munge/key")
export SLURM_CONF=$dir/slurm.conf
# Daemons that guess wrong run jobs without a word and without their processes.
case $groups in
    1) echo CgroupPlugin=cgroup/v1 > "$dir/cgroup.conf" ;;
    2) printf 'CgroupPlugin=cgroup/v2\nIgnoreSystemd=yes\n' > "$dir/cgroup.conf" ;;
esac
cat > "$SLURM_CONF" << EOF
ClusterName=$node
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser=$me
SlurmdUser=$me
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$dir/munge/socket,cred_expire=5
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/log/slurmctld
SlurmdLogFile=$dir/log/slurmd
ProctrackType=proctrack/$TRACKER
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SwitchType=switch/none
MpiDefault=none
MinJobAge=3600
KillWait=$KILL_WAIT
ReturnToService=2
MailProg=/bin/true
SlurmdParameters=config_overrides
NodeName=$node NodeHostname=$host NodeAddr=127.0.0.1 CPUs=$CPUS State=UNKNOWN
PartitionName=all Nodes=$node Default=YES MaxTime=INFINITE State=UP
EOF

daemons=()
end() {
    timeout 5 scancel --quiet --user="$me" 2> /dev/null
    for _ in $(seq $((KILL_WAIT * 5 + 25))); do
        [ -n "$(timeout 5 squeue --noheader --states=R,CG 2> /dev/null)" ] || break
        sleep 0.2
    done
    for ((at = ${#daemons[@]} - 1; at >= 0; at--)); do
        kill "${daemons[at]}" 2> /dev/null
        wait "${daemons[at]}" 2> /dev/null
    done
    case $groups in
        1) find "/sys/fs/cgroup/freezer/slurm_$node" -depth -type d -exec rmdir {} + 2> /dev/null ;;
        2) find /sys/fs/cgroup/system.slice -depth -type d -path "*$node*" -exec rmdir {} + 2> /dev/null ;;
    esac
    rm -rf "$dir"
}
trap end EXIT
trap 'exit 143' TERM
trap 'exit 130' INT
# In sessions of their own: a Ctrl-C ends the command first, and then them.
start() { setsid "$@" > "$dir/log/$1.out" 2>&1 < /dev/null & daemons+=($!); }
wait_for() {
    local what=$1
    shift
    for _ in $(seq 150); do
        "$@" > /dev/null 2>&1 && return
        sleep 0.1
    done
    tail -n 20 "$dir"/log/* >&2
    give_up "$what does not come up"
}
node_is_idle() { [ "$(timeout 10 sinfo --noheader --format=%T)" = idle ]; }
start munged --foreground --force --key-file="$dir/munge/key" --socket="$dir/munge/socket" \
    --pid-file="$dir/munge/pid" --log-file="$dir/log/munged" --seed-file="$dir/munge/seed"
wait_for munged test -S "$dir/munge/socket"
start slurmctld -D -f "$SLURM_CONF"
wait_for slurmctld timeout 10 scontrol ping
start slurmd -D -f "$SLURM_CONF"
wait_for slurmd node_is_idle
"$@"
