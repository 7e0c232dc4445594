/** dg-io against the real qemu-io: same words, same output, same exit code, same image. */
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { runIo } from '../src/io/main.ts'
import { hasQemu, Twins } from './compare/twins.ts'

const raw = ['-f', 'raw', 'a.raw']

/** Words in front, then the commands that are run on it. */
type Row = readonly [words: readonly string[], ...commands: string[]]

const reading: Row[] = [
  [raw, 'read 0 512', 'read 100 1000', 'read 0 0', 'read 1M 0', 'read 1M 1', 'read 2M 512', 'read 0 2147483136'],
  [raw, 'read', 'read 0', 'read 0 1 2', 'read -z 0 1', 'read -1 512', 'read 0 -1', 'read -P'],
  [raw, 'read foo 1', 'read 0 foo', 'read 0x 1k', 'read 1kk 1k', 'read 0 3G', 'read 0 2147483648', 'read 0 1.5b'],
  [raw, 'read 9223372036854775808 1k', 'read 9999999999999999999999 1k', 'read 16E 1', 'read 8E 1', 'read 7E 1'],
  [raw, 'read 1k 1k', 'read 1.5k 1k', 'read 0x200 1k', 'read -p 512 512', 'read -qq 0 5', 'read -- 0 512'],
  [raw, 'read -P 1 0 512', 'read -P 0 -s 100 -l 100 0 512', 'read -s 100 0 512', 'read -P 0 -s 500 -l 100 0 512'],
  [raw, 'read -P 0 -s 500 0 512', 'read -P 0 -s 600 0 512', 'read -P 0 -l 600 0 512', 'read -l 1 0 512'],
  [raw, 'read -P 256 0 5', 'read -P xx 0 5', 'read -P -1 0 5', 'read -P 0x10 0 5', 'read -P 010 0 5', 'read -P 1k 0 5'],
  [raw, 'read -C 0 512', 'read -q 0 512', 'read -v 0 40', 'read -Cq 0 512', 'read -CP 3 0 5', 'read -vq 0 16'],
  [raw, 'read -b 0 512', 'read -b 10 512', 'read -b 0 100', 'read 0 512 -q', 'read 0 512 -P 1', 'read -a 0 512'],
  [raw, 'read -l x -P 1 0 5', 'read -s x -P 1 0 5', 'read -l -5 -P 1 0 5', 'read -P 1 -P 2 0 5'],
  [raw, 'readv', 'readv 0', 'readv -v 96 10 22', 'readv -P 9 96 10 22', 'readv 0 2G 2G', 'readv 0 1G 1G'],
  [raw, 'readv -q 0 5', 'readv -C 0 5 5', 'readv 0 x', 'readv x 5', 'readv 2M 5', 'readv -b 0 5', 'readv 0 -5'],
]

const writing: Row[] = [
  [raw, 'write', 'write 0', 'write 0 512 512', 'write x 512', 'write 0 x', 'write 0 -5', 'write -s'],
  [raw, 'write -z -P 1 0 512', 'write -z -s foo 0 512', 'write -P 1 -s foo 0 512', 'write -n 0 512', 'write -u 0 512'],
  [raw, 'write -b -c 0 512', 'write -b -z 0 512', 'write -b -f 0 512', 'write -c -f 0 512', 'write -c 0 512'],
  [
    raw,
    'write -c -z 0 512',
    'write -s missing 0 512',
    'write -s empty 0 512',
    'write -s /usr 0 512',
    'write -P 0xg 0 5',
  ],
  [raw, 'write 0 512', 'write -f 0 512', 'write -z 0 512', 'write -zu 0 512', 'write -zn 0 512', 'read -v 0 16'],
  [raw, 'write -q 0 512', 'write -C 0 512', 'write -P 17 0 1000000', 'write -P 3 100 5', 'read -v 96 32'],
  [raw, 'write 1M 512', 'write -z 1M 512', 'write 2M 5', 'write 1048576 1', 'write 1048575 1', 'write 1048575 2'],
  [raw, 'write 0 4G', 'write -z 0 3G', 'write -zn 0 4G', 'write -b 10 1000', 'write -b 0 1000', 'write -b 0 1024'],
  [raw, 'write -s bytes 0 1000', 'read -v 200 270', 'write -s magic 0 20', 'read -v 0 20'],
  [['a.raw'], 'write -s magic 0 8', 'write -s magic 0 512', 'write -s magic 512 512', 'writev -P 1 0 512'],
  [['a.raw'], 'write -s magic 0 512', 'write 0 512', 'read -P 0xcd 0 512'],
  [raw, 'writev', 'writev 0', 'writev 0 512 512', 'writev -z 0 512', 'writev -C 0 512 512', 'writev 0 512 x'],
  [raw, 'writev -P 3 100 5 6', 'read -v 96 32', 'writev -q 0 5', 'writev 2M 5', 'writev -f 0 5', 'writev 0 2G'],
  [['-f', 'qcow2', 'a.qcow2'], 'write -c 0 64k', 'read -P 0xcd 0 64k', 'write -c 100 64k', 'write -c 64k 512'],
  [['a.qcow2'], 'write -b 0 1k', 'read -b -P 0xcd 0 1k', 'write -b 512 1000', 'read -b 512 512', 'map'],
  [['-d', 'unmap', 'a.qcow2'], 'write 0 128k', 'discard 0 64k', 'read -P 0 0 64k', 'map', 'write -zu 64k 64k', 'map'],
  [['-d', 'ignore', 'a.qcow2'], 'write 0 128k', 'discard 0 64k', 'read -P 0xcd 0 64k', 'map'],
  [
    ['a.qcow2'],
    'write -P 1 10k 200k',
    'write -z 64k 64k',
    'read -P 1 10k 54k',
    'read -P 0 64k 64k',
    'map',
    'alloc 0 1M',
  ],
]

const background: Row[] = [
  [raw, 'aio_read', 'aio_read 0', 'aio_read x 16', 'aio_read 0 x', 'aio_read -1 16', 'aio_read -z 0 5'],
  [raw, 'aio_read 0 512', 'aio_flush', 'aio_read -P 9 0 512', 'aio_flush', 'aio_read 2M 512', 'aio_flush'],
  [raw, 'aio_read -v 0 16', 'aio_flush', 'aio_read -i 0 16', 'aio_read -q 0 16', 'aio_flush', 'aio_read -C 0 16'],
  [raw, 'aio_write', 'aio_write 0', 'aio_write -z 0 1 2', 'aio_write -u 0 1', 'aio_write x 5', 'aio_write 0 4G'],
  [raw, 'aio_write -i 0 512', 'aio_write -P 4 0 512', 'aio_flush', 'aio_write -C -P 4 0 512 6', 'aio_flush'],
  [raw, 'aio_write -P 4 2M 512', 'aio_flush', 'aio_write -z 2M 512', 'aio_flush', 'aio_write -z 0 4G', 'aio_flush'],
  [raw, 'aio_write -P 4 0 512', 'length', 'close', 'length'],
  [raw, 'aio_write -P 4 0 512', 'quit', 'length'],
  [raw, 'aio_flush x', 'aio_flush', 'aio_write -q 0 5', 'aio_flush', 'read -P 0xcd 0 5'],
]

const images: Row[] = [
  [raw, 'flush x', 'flush', 'length x', 'length', 'info', 'map', 'map x', 'info x'],
  [['a.qcow2'], 'info', 'length', 'map'],
  [raw, 'discard', 'discard 0', 'discard -q 0 512', 'discard -C 0 512', 'discard -x 0 512', 'discard x 512'],
  [raw, 'discard 0 x', 'discard -1 512', 'discard 0 4G', 'discard 0 2G', 'discard 5 3000', 'discard 2M 3000'],
  [raw, 'truncate', 'truncate x', 'truncate -1', 'truncate -m foo 1M', 'truncate -m full 2M', 'length'],
  [raw, 'truncate -m metadata 2M', 'truncate -x', 'truncate -m', 'truncate 1M 5', 'length', 'truncate 1000', 'length'],
  [raw, 'truncate 5T', 'length', 'alloc 4T 5T', 'map'],
  [['a.qcow2'], 'truncate 2M', 'length', 'truncate 1M', 'length', 'truncate 1000', 'length', 'truncate 3M', 'map'],
  [['overlay.qcow2'], 'alloc 0 1M', 'map', 'write 64k 64k', 'alloc 0 1M', 'map', 'alloc 100k 5', 'alloc 1 64k'],
  [raw, 'alloc', 'alloc 5 5 5', 'alloc x', 'alloc 0 x', 'alloc -1', 'alloc 2M', 'alloc 0 2M', 'alloc 0', 'alloc 0 0'],
  [['-f', 'raw', 'empty'], 'map', 'length', 'alloc 0', 'read 0 0', 'write 0 1'],
]

const files: Row[] = [
  [[], 'length', 'read 0 512', 'length x', 'aio_flush', 'open missing', 'length', 'close'],
  [[], 'open a.raw', 'length', 'open a.raw', 'close', 'close x', 'close', 'length'],
  [
    [],
    'open -o driver=raw a.raw',
    'length',
    'close',
    'open -o driver=raw,file.driver=file,file.filename=a.raw',
    'length',
  ],
  [[], 'open', 'open -x', 'open -r', 'open -o', 'open a.raw a.qcow2', 'open -t foo a.raw', 'open -d foo a.raw'],
  [[], 'open -i foo a.raw', 'open -i native a.raw', 'open -U a.raw', 'open -rU a.raw', 'write 0 5', 'length'],
  [[], 'open -o driver=raw -o driver=qcow2 a.raw', 'open -o driver=qcow2 a.qcow2', 'length'],
  [[], 'open -s a.qcow2', 'write -P 99 0 512', 'read -P 99 0 512', 'close', 'open a.qcow2', 'read -P 0 0 512'],
  [[], 'open -C -r a.qcow2', 'open -C overlay.qcow2', 'read -P 0 0 512', 'map'],
  [['-s', 'a.raw'], 'write 0 512', 'read -P 0xcd 0 512', 'length'],
  [['-s', '-r', 'a.qcow2'], 'write 0 512', 'length'],
  [['-s', '--image-opts', 'driver=qcow2,file.filename=a.qcow2'], 'length', 'write 0 512', 'read -P 0xcd 0 512'],
  [['-r', ...raw], 'write 0 512', 'write -z 0 5', 'discard 0 0', 'truncate 5', 'aio_write 0 5', 'writev 0 5', 'flush'],
  [['-r', ...raw], 'aio_write -z 0 5', 'write -b 0 5', 'read 0 5'],
  [['-C', 'overlay.qcow2'], 'read 70000 512', 'map'],
  [
    ['-C', 'overlay.qcow2'],
    'info',
    'aio_read 0 5',
    'aio_flush',
    'aio_write 500 5',
    'aio_flush',
    'reopen -o lazy-refcounts=on',
    'map',
  ],
  [['-C', '-s', 'overlay.qcow2'], 'read 70000 512', 'write 0 5', 'alloc 0 1M', 'map'],
  [['--image-opts', 'driver=copy-on-read,file.driver=qcow2,file.file.filename=overlay.qcow2'], 'read 70000 5', 'map'],
  [['-m', ...raw], 'read 0 512', 'write 100 5', 'read -v 96 16'],
  [raw, 'reopen', 'reopen -r', 'write 0 512', 'reopen -w', 'write 0 512', 'reopen -r -w', 'reopen x', 'reopen -x'],
  [raw, 'reopen -o foo=1', 'reopen -o offset=512', 'length', 'reopen -c foo', 'reopen -c unsafe', 'write 0 5'],
  [raw, 'reopen -c writeback -o cache.direct=on', 'reopen -r -o read-only=on', 'reopen -c', 'reopen -c writethrough'],
  [['-r', ...raw], 'reopen -w', 'write -P 5 0 512', 'reopen -r', 'read -P 5 0 512', 'write 0 5'],
  [['a.qcow2'], 'reopen -o lazy-refcounts=on', 'write 0 512', 'reopen -o driver=raw', 'reopen -r', 'write 0 512'],
]

const unchanged: Row[] = [
  [['overlay.qcow2'], 'reopen -o driver=qcow2', 'reopen -o file.driver=file', 'reopen -o backing.driver=raw'],
  [['overlay.qcow2'], 'reopen -o driver=raw', 'reopen -o file.driver=qcow2', 'reopen -o backing.driver=file'],
  [['overlay.qcow2'], 'reopen -o file.filename=overlay.qcow2', 'reopen -o file.filename=a.qcow2'],
  [['overlay.qcow2'], 'reopen -o node-name=a', 'reopen -o file.node-name=a', 'reopen -o backing.node-name=a'],
  [[], 'open -r -U -o driver=null-co,force-share=off', 'open -r -U -o driver=null-co,force-share=on', 'length'],
  [[], 'open -o node-name=a a.qcow2', 'reopen -o node-name=a', 'reopen -o node-name=b'],
  [[], 'open -o file.node-name=a a.qcow2', 'reopen -o file.node-name=a', 'reopen -o file=a', 'reopen'],
  [[], 'open -o backing.node-name=a overlay.qcow2', 'reopen -o backing.node-name=a', 'reopen -o backing=a'],
  [[], 'open -o driver=null-co,size=64k', 'reopen -o size=64k', 'reopen -o size=1M', 'length'],
  [[], 'open -o driver=null-co,read-zeroes=on', 'reopen -o read-zeroes=on', 'reopen -o read-zeroes=off', 'reopen'],
  [[], 'open -o driver=raw,size=512k a.raw', 'reopen -o size=512k', 'length', 'reopen -o size=524288', 'length'],
  [['a.qcow2'], 'reopen -o auto-read-only=on', 'reopen -o auto-read-only=off', 'reopen -o auto-read-only=qux'],
  [['-r', 'a.qcow2'], 'reopen -o read-only=off,auto-read-only=on', 'write 0 1k', 'reopen -o read-only=foo'],
  [['-r', 'a.qcow2'], 'reopen -o force-share=on', 'write 0 1k', 'reopen -o read-only=off', 'write 0 1k'],
  [['overlay.qcow2'], 'reopen -o backing.read-only=off', 'reopen -o cache.no-flush=bar', 'reopen -o cache.direct=baz'],
  [['a.qcow2'], 'reopen -o lazy-refcounts=42', 'reopen -o cache-size=x', 'reopen -o overlap-check.main-header=x'],
  [['a.qcow2'], 'reopen -o cache-clean-interval=-1', 'reopen -o cache-clean-interval=99999999999'],
  [
    ['a.qcow2'],
    'write -P 3 0 1M',
    'reopen -o l2-cache-entry-size=512',
    'read -P 3 0 1M',
    'write -P 4 100k 300k',
    'map',
  ],
  [['a.qcow2'], 'reopen -o l2-cache-entry-size=33k', 'reopen -o l2-cache-entry-size=128k'],
]

const shown: Row[] = [
  ['driver=null-co', 'driver=raw,file.driver=null-co', 'driver=blkdebug,image.driver=null-co'],
  ['driver=file,filename=a.raw', 'driver=raw,file.filename=a.raw', 'driver=blkdebug,image.filename=a.raw'],
  ['driver=quorum,children.0.driver=null-co,vote-threshold=1', 'driver=qcow2,file.filename=a.qcow2'],
  ['copy-on-read,file.', 'raw,file.', 'blkdebug,image.', 'quorum,vote-threshold=1,children.0.'].map(
    (filter) => `driver=${filter}driver=qcow2,${filter.split(',').at(-1)}file.filename=a.qcow2`,
  ),
].map((options) => [[], ...options.flatMap((text) => [`open -o ${text}`, 'info', 'close'])] as const)

const named: Row[] = [
  ['driver=blkdebug,image.driver=qcow2 overlay.qcow2', 'driver=blkdebug,image.driver=qcow2 blkdebug::overlay.qcow2'],
  ['driver=blkdebug,image.driver=qcow2,config=errors a.qcow2', 'driver=blkdebug,image.driver=raw,image.size=512 a.raw'],
  ['driver=blkdebug a.raw', 'driver=blkdebug blkdebug::a.raw', 'driver=blkdebug,image.filename=a.qcow2 a.raw'],
  ['driver=raw,file.align=4k blkdebug::a.raw', 'driver=raw,file.align=3k blkdebug::a.raw'],
  ['driver=raw,file.image.driver=raw,file.image.size=512 blkdebug::a.raw', 'driver=null-co a.raw'],
  ['driver=raw,file.image.filename=a.raw blkdebug::a.raw', 'driver=null-co,size=64k null-co://'],
  ['driver=file,filename=a.raw a.raw', 'driver=raw,file.driver=raw,file.size=512 a.raw'],
].map((options) => [[], ...options.flatMap((text) => [`open -o ${text}`, 'length', 'map', 'close'])] as const)

const damaged = 'damaged.qcow2'
const damage: Row[] = [
  [[damaged], 'discard 0 64k', 'discard 64k 64k', 'write -z -u 128k 64k', 'map'],
  [['-r', damaged], 'read 0 64k', 'read 64k 64k'],
  [['free.qcow2'], 'write 0 64k'],
  [['free.qcow2'], 'write -c 0 64k'],
  [['taken.qcow2'], 'write 1M 64k'],
]

const programs: Row[] = [
  [['missing'], 'length'],
  [['-f', 'nosuchformat', 'a.raw'], 'length'],
  [['-f', 'qcow2', 'a.raw'], 'length'],
  [['-U', 'a.raw'], 'length'],
  [['-r', '-U', 'a.raw'], 'length'],
  [['-t', 'foo', 'a.raw'], 'length'],
  [['-d', 'foo', 'a.raw'], 'length'],
  [['-i', 'foo', 'a.raw'], 'length'],
  [['-i', 'native', ...raw], 'length'],
  [['-C', '-r', 'a.qcow2'], 'length'],
  [['--image-opts', 'driver=raw,file.filename=a.raw'], 'length'],
  [['--image-opts', 'driver=raw,file.filename=a.raw,foo=1'], 'length'],
  [['--image-opts', '-f', 'raw', 'driver=raw,file.filename=a.raw'], 'length'],
  [['--image-opts', 'file.filename=a.qcow2'], 'length'],
  [['--image-opts', 'driver=qcow2,file.filename=missing'], 'length'],
  [['--image-opts', ''], 'length'],
  [['--image-opts', 'a.raw'], 'length'],
  [['--object', 'foo', 'a.raw'], 'length'],
  [['--object', 'secret,data=x', 'a.raw'], 'length'],
  [['--object', 'secret,id=s,data=x', ...raw], 'length'],
  [['json:{"driver":"raw","file":{"driver":"file","filename":"a.raw"}}'], 'length'],
  [['foo:bar'], 'length'],
  [[], 'open -o driver=blkdebug a.qcow2', 'read 0 512'],
  [[], 'open -o driver=blkdebug,max-transfer=4096 blkdebug::a.qcow2', 'read 0 512'],
  [[], 'open -o driver=blkdebug,image.driver=raw a.qcow2', 'length'],
  [[], 'open -o driver=blkdebug,image.driver=qcow2 a.qcow2', 'length'],
  [[], 'open -o driver=blkdebug,image.driver=qcow2 blkdebug::a.qcow2', 'length'],
  [[], 'open -o driver=blkdebug,foo=1 a.qcow2', 'length'],
  [['/usr'], 'length'],
  [[''], 'length'],
  [[...raw, '--cmd', 'length', '--cmd=length'], 'length'],
  [raw, 'foo', '', '   ', '  length  ', '# x', 'length # x', 'read "0" 5', 'quit x', 'length'],
  [
    raw,
    'l',
    'r',
    'r 0 5',
    'w 0 512',
    'd 0 512',
    'o',
    'f',
    'i',
    'a 0',
    'm',
    't 1M',
    'rv 0 5',
    'wv 0 5',
    'h',
    'c',
    'q',
    'l',
  ],
  [
    raw,
    'sleep',
    'sleep x',
    'sleep 1',
    'sleep -1',
    'help read write',
    'help foo',
    'sigraise',
    'sigraise x',
    'sigraise 0',
  ],
  [['a.qcow2'], 'break write_aio A', 'resume A', 'remove_break A', 'break', 'wait_break', 'resume', 'break a b c'],
]

const blkdebug = ['-f', 'qcow2', 'blkdebug::a.qcow2']

const breakpoints: Row[] = [
  [blkdebug, 'break write_aio A', 'aio_write -P 7 0 512', 'wait_break A', 'length', 'resume A', 'aio_flush'],
  [blkdebug, 'break foo A', 'break', 'resume Z', 'remove_break A', 'wait_break', 'break a b c'],
  [blkdebug, 'break read_aio A', 'remove_break A', 'write 0 64k', 'read -P 0xcd 0 64k', 'resume A'],
  [blkdebug, 'break pwritev A', 'aio_write 0 512', 'wait_break A', 'resume A', 'aio_flush', 'read -P 0xcd 0 512'],
  [['blkdebug:errors:a.qcow2'], 'write 0 64k', 'read 0 512', 'write 64k 64k', 'flush'],
]

const prepare = `
  printf '' > empty
  for i in 0 1 2 3 4 5 6 7 8 9 a b c d e f; do for j in 0 1 2 3 4 5 6 7 8 9 a b c d e f; do
    printf "\\\\$(printf '%03o' 0x$i$j)"; done; done > bytes
  printf 'QFI\\373\\000\\000\\000\\003' > magic
  truncate -s 1M a.raw
  qemu-img create -q -f qcow2 a.qcow2 1M
  printf '[inject-error]\\nevent = "read_aio"\\nerrno = "28"\\nonce = "on"\\n' > errors
  qemu-img create -q -f qcow2 -b a.raw -F raw overlay.qcow2
  poke() { printf "$3" | dd of=$1 bs=1 seek=$2 conv=notrunc status=none; }
  qemu-img create -q -f qcow2 damaged.qcow2 1M; qemu-io -c 'write -q 0 256k' damaged.qcow2
  poke damaged.qcow2 262144 '\\200\\000\\000\\000\\000\\005\\052\\000\\200\\000\\000\\000\\000\\006\\052'
  qemu-img create -q -f qcow2 free.qcow2 1M; poke free.qcow2 131072 '\\000\\000\\000\\000\\000\\000\\000\\000'
  qemu-img create -q -f qcow2 taken.qcow2 2M; qemu-io -c 'write -q 0 64k' taken.qcow2
  poke taken.qcow2 131072 '\\000\\000\\000\\000\\000\\000\\000\\000'
`

describe.skipIf(!hasQemu).each(
  Object.entries({
    reading,
    writing,
    background,
    images,
    files,
    unchanged,
    shown,
    named,
    damage,
    programs,
    breakpoints,
  }),
)('dg-io does as qemu-io does: %s', (_, rows) => {
  let twins: Twins
  beforeAll(() => {
    twins = new Twins()
  })
  afterAll(() => twins.remove())

  test.each(rows.map((row) => [row.flat().join(' | '), row] as const))('%s', async (_, [words, ...commands]) => {
    twins.prepare(prepare)
    const all = [...words, ...commands.flatMap((command) => ['-c', command])]
    const theirs = twins.runTheirs('qemu-io', all)
    const ours = await twins.runOurs('qemu-io', runIo, all)
    expect(ours).toEqual(theirs)
    const [one, other] = [join(twins.ours, 'a.raw'), join(twins.theirs, 'a.raw')]
    expect(statSync(one).size).toBe(statSync(other).size)
    if (statSync(one).size < 2 ** 24) expect(readFileSync(one).equals(readFileSync(other))).toBe(true)
  })
})
