#!/usr/bin/env bash
# A sweep as a Slurm job array on a cluster of this machine alone: tasks are lost in mid-flow and
# resumed, and the merged result must be what one process writes, to the byte.
#
#     tests/slurm.sh [TIERSIM]        # or TIERSIM=PATH; the default is what target/ has
#
# It needs root and Slurm (Debian: apt-get install slurm-wlm munge), and ends with 77 (skipped) where
# one of them is missing, or with 1 if TIERSIM_NO_SKIPS=1. It runs munged, slurmctld and slurmd of its
# own, in a temporary folder and at free ports, and touches nothing of an installed Slurm. KEEP=1
# keeps the folder. LOSE_AFTER=N loses a task after N finished cells; SCRIPT=FILE tries another script
# than tiersim's.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

skip() {
    echo "skipped: tests/slurm.sh: $1" >&2
    [ "${TIERSIM_NO_SKIPS:-0}" = 0 ] || exit 1
    exit 77
}
[ "$(id -u)" -eq 0 ] || skip "it needs root, as slurmd does"
PATH=$PATH:/usr/sbin:/sbin
for program in munged mungekey slurmctld slurmd sbatch scontrol; do
    command -v "$program" >/dev/null || skip "there is no $program: apt-get install slurm-wlm munge"
done

tiersim=${1:-${TIERSIM:-}}
if [ -z "$tiersim" ]; then
    for built in "$root/target/release/tiersim" "$root/target/debug/tiersim"; do
        [ -n "$tiersim" ] || [ ! -x "$built" ] || tiersim=$built
    done
    [ -n "$tiersim" ] || { echo "tests/slurm.sh: build tiersim first, or name one" >&2; exit 2; }
fi
TIERSIM=$(realpath -e "$tiersim")
export TIERSIM
script=${SCRIPT:+$(realpath -e "$SCRIPT")}

say() { printf '%4d s  %s\n' "$SECONDS" "$1"; }
failed() {
    say "FAILED: $1" >&2
    squeue --all >&2 || true
    tail -n 20 "$dir"/jobs/*.log "$dir"/log/*.log >&2 || true
    exit 1
}
# Waits until a command succeeds.
await() {
    local seconds=$1 what=$2 until=$((SECONDS + $1))
    shift 2
    until "$@"; do
        [ "$SECONDS" -lt "$until" ] || failed "after $seconds s still not: $what"
        sleep 0.1
    done
}

dir=$(mktemp -d /tmp/tiersim-slurm.XXXXXX)
# Processes that belong to this cluster, jobs and all: those with its configuration in their environment.
members() { grep -lszxF "SLURM_CONF=$dir/slurm.conf" /proc/[0-9]*/environ | cut -d/ -f3 | grep -vx "$$" || true; }
daemons=()
cleanup() {
    local code=$? pid try
    trap - EXIT
    [ "${#daemons[@]}" -eq 0 ] || timeout 10 scancel --user=root --quiet 2>/dev/null || true
    # Or what looks for members would be one.
    export -n SLURM_CONF
    for pid in ${daemons[@]+"${daemons[@]}"}; do kill "$pid" 2>/dev/null || true; done
    for try in $(seq 50); do
        [ -n "$(members)" ] || break
        # After five seconds, by force.
        [ "$try" -lt 25 ] || for pid in $(members); do kill -KILL "$pid" 2>/dev/null || true; done
        sleep 0.2
    done
    if [ -n "${KEEP:-}" ]; then echo "kept: $dir"; else rm -rf "$dir"; fi
    exit "$code"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
# munged insists that all can reach its socket.
chmod 755 "$dir"
mkdir "$dir"/{log,munge,state,spool,jobs}

# A port that nothing listens at.
free_port() {
    local port
    while port=$((20000 + RANDOM % 12000)); (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done
    echo "$port"
}
host=${HOSTNAME%%.*}
controller=$(free_port) node=$(free_port)
cat >"$dir/slurm.conf" <<CONF
ClusterName=tiersim
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$controller
SlurmdPort=$node
SlurmUser=root
AuthType=auth/munge
CredType=cred/munge
# A requeued task starts when its old credential has ended: soon.
AuthInfo=socket=$dir/munge/socket,cred_expire=5
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/log/slurmctld.log
SlurmdLogFile=$dir/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=batch_sched_delay=1,sched_interval=2,bf_interval=2
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
# Two tasks run, the others wait in line.
NodeName=$host NodeAddr=127.0.0.1 CPUs=2 RealMemory=2048 State=UNKNOWN
PartitionName=all Nodes=$host Default=YES MaxTime=10 State=UP
CONF
export SLURM_CONF=$dir/slurm.conf
# What a Slurm around this one has set.
unset "${!SLURM_JOB@}" "${!SLURM_ARRAY@}" "${!SBATCH_@}" "${!SLURM_CPUS@}" "${!SLURM_MEM@}"

mungekey --create --keyfile="$dir/munge/key"
munged --foreground --key-file="$dir/munge/key" --socket="$dir/munge/socket" --pid-file="$dir/munge/pid" \
    --seed-file="$dir/munge/seed" --log-file="$dir/log/munged.log" >"$dir/log/munged.out" 2>&1 &
daemons+=($!)
disown
await 10 "munged listens" test -S "$dir/munge/socket"
slurmctld -D >"$dir/log/slurmctld.out" 2>&1 &
daemons+=($!)
disown
slurmd -D >"$dir/log/slurmd.out" 2>&1 &
daemons+=($!)
disown
node_is() { sinfo --noheader --format=%T 2>/dev/null | grep -qx "$1"; }
await 30 "the node is idle" node_is idle
say "the cluster is up"

cd "$dir/jobs"
cat >sweep.ron <<'RON'
Sweep(
    name: "slurm",
    base: "study",
    set: {"decode_tokens": 4096},
    axes: [
        Values(field: "memory.hbm.capacity", values: ["2GiB", "3GiB", "4GiB", "6GiB"]),
        Values(field: "strategy", values: ["baseline", "best-ratio"]),
        Linear(field: "trace.skip", from: 0.0, to: 0.5, points: 5),
    ],
)
RON
shards=4
if [ -n "$script" ]; then cp "$script" array.slurm; else "$TIERSIM" sweep script slurm >array.slurm; fi
id=$(sbatch --parsable --array=1-$shards --cpus-per-task=1 --mem-per-cpu=512M --time=5 array.slurm sweep.ron out $shards)
merge=$(sbatch --parsable --dependency=afterany:"$id" --mem=256M --output=merge.log \
    --wrap "$TIERSIM sweep merge out/shard-*-of-$shards --out out/whole")
say "submitted $shards shards as array $id, and the merge as $merge"

# Rows of a shard that are safe on disk.
rows() { cat "out/shard-$1-of-$shards/journal/"* 2>/dev/null | wc -l; }
has_rows() { [ "$(rows "$1")" -ge "$2" ]; }
unfinished() { [ "$(rows "$1")" -gt 0 ] && [ -z "$(ls "out/shard-$1-of-$shards/cells")" ]; }
process_of() { grep -lszxF "$1/$shards" /proc/[0-9]*/cmdline | cut -d/ -f3 | while read -r pid; do
    [ "$(readlink "/proc/$pid/exe")" != "$TIERSIM" ] || [ "$(readlink "/proc/$pid/cwd")" != "$dir/jobs" ] || echo "$pid"
done; }
has_ended() { [ -z "$(process_of "$1")" ]; }
state_of() { scontrol show job "${id}_$1" | grep -o 'JobState=[A-Z_]*' | cut -d= -f2; }
state_is() { [ "$(state_of "$1")" = "$2" ]; }
# That a task that was lost with so many cells done went on from there.
went_on() {
    grep -qE "^$2 of [0-9]+ cells were there already" "tiersim-${id}_$1.log" \
        || failed "shard $1 was lost with $2 cells done, but its log does not say that they were there already"
    say "shard $1 went on: $(grep 'were there already' "tiersim-${id}_$1.log")"
}
lose_after=${LOSE_AFTER:-3}

await 60 "shard 1 has $lose_after cells" has_rows 1 "$lose_after"
pid=$(process_of 1)
kill -KILL "$pid" || failed "shard 1 has no process to lose"
await 60 "shard 2 has $lose_after cells" has_rows 2 "$lose_after"
# To the batch shell, as Slurm does by --signal=B:USR1; `scancel --batch --signal=USR1` may try again and hit the task's next start too.
kill -USR1 "$(awk '/^PPid:/ { print $2 }' "/proc/$(process_of 2)/status")" || failed "shard 2 has no process to warn"

await 10 "task 1 has failed" state_is 1 FAILED
lost_1=$(rows 1)
unfinished 1 || failed "shard 1 was not lost in mid-flow"
say "shard 1 lost: kill -9 with $lost_1 cells done"
scontrol requeue "${id}_1"
await 10 "shard 2 has ended" has_ended 2
lost_2=$(rows 2)
unfinished 2 || failed "shard 2 was not stopped in mid-flow"
say "shard 2 warned, as before a time limit: it ended with $lost_2 cells done"

await 60 "shard 3 has $lose_after cells" has_rows 3 "$lose_after"
scontrol update NodeName="$host" State=DOWN Reason=lost
await 20 "shard 3 has ended" has_ended 3
lost_3=$(rows 3)
unfinished 3 || failed "shard 3 was not lost in mid-flow"
say "shard 3 lost: its node went down with $lost_3 cells done"
# It may have come back by itself.
scontrol update NodeName="$host" State=RESUME 2>/dev/null || true

done_all() { [ -z "$(squeue --noheader)" ]; }
"$TIERSIM" sweep sweep.ron --jobs 1 --out whole --quiet >/dev/null
say "the same in one process is done"
await 90 "all tasks have ended" done_all
for task in $(seq $shards); do
    state_is "$task" COMPLETED || failed "task $task ended as $(state_of "$task")"
done
went_on 1 "$lost_1"
went_on 2 "$lost_2"
went_on 3 "$lost_3"
grep . merge.log || true
for part in sweep.json cells; do
    diff -r "whole/$part" "out/whole/$part" || failed "$part differs from what one process wrote"
done
say "passed: what is merged is what one process wrote, to the byte"
