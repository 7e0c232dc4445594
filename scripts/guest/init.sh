#!/bin/busybox sh
# The first and only program of the guest. Lines that begin with @ are for the host; a line from the host ends the writing.
/bin/busybox --install -s /bin
mount -t devtmpfs none /dev
mount -t proc none /proc
mount -t sysfs none /sys
mount -t tmpfs none /tmp
exec </dev/ttyS0 >/dev/ttyS0 2>&1
stty -echo

fail() {
  echo "@failed $*"
  sync
  reboot -f
}

while read -r module; do insmod "/modules/$module" || fail "insmod $module"; done </modules/order
waited=0
while [ ! -b /dev/vda ]; do
  waited=$((waited + 1))
  [ $waited -le 100 ] || fail 'there is no /dev/vda'
  sleep 0.1
done
mkdir /disk

if grep -q phase=verify /proc/cmdline; then
  /e2fsprogs/e2fsck -fn /dev/vda1 || fail "e2fsck: status $?"
  mount -t ext4 -o ro /dev/vda1 /disk || fail 'mount'
  cd /disk || fail 'cd /disk'
  sha256sum -c sums >/tmp/verdicts || fail "$(grep -c FAILED /tmp/verdicts) files are not as they were written"
  echo "@verified $(wc -l </tmp/verdicts) $(sha256sum <sums)"
  reboot -f
fi

printf 'n\np\n1\n2048\n\nw\n' | fdisk /dev/vda >/tmp/fdisk || fail "fdisk: $(cat /tmp/fdisk)"
/e2fsprogs/mke2fs -q -t ext4 -E lazy_itable_init=0 /dev/vda1 || fail 'mke2fs'
mount -t ext4 -o discard /dev/vda1 /disk || fail 'mount'
echo '@ready'
(read -r line </dev/ttyS0 && : >/tmp/stop) &

# The sums are of what stands in memory, and are kept there until the end.
mkdir /tmp/sums
total=0
round=0
while [ ! -e /tmp/stop ]; do
  round=$((round + 1))
  name=file$((RANDOM % 128))
  kib=$((RANDOM % 512 + 1))
  head -c $((kib * 1024)) /dev/urandom >/tmp/piece || fail 'head'
  [ $(wc -c </tmp/piece) = $((kib * 1024)) ] || fail 'a short piece'
  cp /tmp/piece /disk/$name || fail "cp to $name"
  echo "$(sha256sum </tmp/piece | cut -d ' ' -f 1)  $name" >/tmp/sums/$name
  total=$((total + kib))
  if [ $((round % 8)) = 0 ]; then
    gone=file$((RANDOM % 128))
    rm -f /disk/$gone /tmp/sums/$gone
  fi
  if [ $((round % 2)) = 0 ]; then
    sync
    echo "@wrote $total"
  fi
done
cat /tmp/sums/* >/disk/sums
digest=$(sha256sum </disk/sums)
umount /disk || fail 'umount'
sync
echo "@done $(ls /tmp/sums | wc -l) $digest"
reboot -f
