#!/usr/bin/env bash
# Run a training command, and tell the launcher whether to run it again.
#
#   launchers/train.sh RUN COMMAND...      COMMAND trains into RUN with --resume auto
#
# SIGTERM is passed on, and the training saves. Exit status:
#   0    the run is complete
#   75   it was stopped and is saved: repeat this command (EX_TEMPFAIL of sysexits.h)
#   else the command's own: it has failed
# Within a Slurm job, a stopped run is requeued.
set -u

if [ $# -lt 2 ]; then
    echo "usage: train.sh RUN COMMAND..." >&2
    exit 2
fi
run=$1
shift

stopped=
child=
trap 'stopped=1; interrupted=1; [ -n "$child" ] && kill -TERM "$child" 2>/dev/null' TERM
"$@" &
child=$!
[ -n "$stopped" ] && kill -TERM "$child"
while :; do # a signal ends `wait`, not the training
    interrupted=
    wait "$child"
    status=$?
    [ -z "$interrupted" ] && break
done
trap '' TERM

# torchrun's status after SIGTERM is 1, whatever its ranks end with.
if [ "$status" -eq 0 ] || [ -n "$stopped" ]; then
    ganvas status "$run"
    status=$?
fi
if [ "$status" -ne 0 ] && [ -n "$stopped" ]; then # perhaps before there was a run
    status=75
fi
if [ "$status" -eq 75 ] && [ -n "${SLURM_JOB_ID:-}" ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
