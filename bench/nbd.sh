#!/usr/bin/env bash
# bench/nbd.sh [raw|qcow2]: requests per second of qemu-nbd, nbdkit and dg-nbd with fio as the client, on a cached image
# of random bytes, and the processor time of each server. Needs fio with ioengine=nbd, qemu-img, qemu-nbd, and nbdkit (raw).
set -euo pipefail
format=${1:-raw}
tools=$(cd "$(dirname "${BASH_SOURCE[0]}")/../node_modules/.bin" && pwd)
folder=$(mktemp -d)
trap 'kill "$(cat "$folder/pid" 2>/dev/null)" 2>/dev/null || true; rm -rf "$folder"' EXIT
image=$folder/disk.$format
socket=$folder/socket
head -c 512M /dev/urandom >"$folder/disk.raw"
[ "$format" = raw ] || qemu-img convert -f raw -O "$format" "$folder/disk.raw" "$image"
cat "$image" >/dev/null

measure() {
  for job in "randread 4k 16" "randread 4k 1" "randwrite 4k 16" "randread 64k 16" "randread 1M 4"; do
    read -r kind size depth <<<"$job"
    fio --name=nbd --ioengine=nbd --uri="nbd+unix:///?socket=$socket" --rw="$kind" --bs="$size" --iodepth="$depth" \
      --size=512M --time_based --runtime="${SECONDS_EACH:-5}" --output-format=terse --terse-version=3 2>/dev/null |
      awk -F';' -v name="$1" -v job="$job" 'NF > 50 { printf "%-9s %-16s %8d per second\n", name, job, $8 + $49 }'
  done
  awk -v name="$1" '{ printf "%-9s processor time   %8.2f s\n", name, ($14 + $15) / 100 }' "/proc/$(cat "$folder/pid")/stat"
  kill "$(cat "$folder/pid")"
  while [ -e "/proc/$(cat "$folder/pid")" ]; do sleep 0.05; done
  rm -f "$folder/pid" "$socket"
}

qemu-nbd --fork -t -e 16 -f "$format" -k "$socket" --pid-file="$folder/pid" "$image"
measure qemu-nbd
if [ "$format" = raw ]; then
  nbdkit -U "$socket" -P "$folder/pid" file "$image"
  measure nbdkit
fi
"$tools/dg-nbd" --fork -t -e 16 -f "$format" -k "$socket" --pid-file="$folder/pid" "$image"
measure dg-nbd
