#!/bin/sh
# Reproduce a receipt in a CI job, whichever the service:
#   RECEIPT=receipts/wines.json sh .github/reproduce.sh
# RECEIPT is a path (relative to the folder of the job), a URI or a run id; RECEIPT_ENV is `same` or `recorded`; TRUST is a
# repository whose code may run; SIGNING_KEY is a private key in PEM. The verdict, its badge and the table are left in
# the folder `verdict`. The exit code is that of reproduce: 0 equal, 1 differs, 2 could not be compared.
set -eu
project=$(cd "$(dirname "$0")/.." && pwd)
job=$(pwd)
case $RECEIPT in /* | *:/*) ;; *) if [ -f "$RECEIPT" ]; then RECEIPT=$job/$RECEIPT; fi ;; esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ -z "${TRUST:-}" ] && [ -n "${GITHUB_ACTION_REPOSITORY:-}" ]; then  # where this script comes from
    TRUST=$GITHUB_SERVER_URL/$GITHUB_ACTION_REPOSITORY
fi
set -- --run "$RECEIPT" --env "${RECEIPT_ENV:-recorded}" --trust "${TRUST:-}"
if [ -n "${SIGNING_KEY:-}" ]; then
    (umask 077 && printf '%s\n' "$SIGNING_KEY" > "$work/key.pem")
    set -- "$@" --sign "$work/key.pem"
fi
if [ -z "${MLFLOW_TRACKING_URI:-}" ]; then  # else the run is logged on the tracking server of the job
    MLFLOW_TRACKING_URI=sqlite:///$work/mlflow.db
    export MLFLOW_TRACKING_URI
fi
unset SIGNING_KEY
code=0
cd "$work"
python "$project/steps/reproduce.py" "$@" > "$work/output.txt" 2> "$work/errors.txt" || code=$?
cat "$work/output.txt"
cat "$work/errors.txt" >&2
python "$project/.github/collect.py" "$work" "$job/verdict"
exit "$code"
