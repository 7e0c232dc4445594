/** What is compared: one row per thing that people wait for. */
import { rmSync } from 'node:fs'
import type { Images } from './data.ts'
import type { Command } from './measure.ts'

/** One comparison. `goal` is the ratio to reach; `net` rows are judged without the start of a process. */
export interface Row {
  readonly name: string
  readonly goal: number
  readonly net?: boolean
  readonly ours: Command
  readonly theirs: Command
  readonly okCodes?: readonly number[]
  readonly before?: () => void
}

/** The rows, with programs `img` (ours) and qemu-img. `out` is the file that conversions write. */
export function rows(img: Command, images: Images, out: string): Row[] {
  const fresh = (): void => rmSync(out, { force: true })
  const same = (name: string, goal: number, args: readonly string[], extra: Partial<Row> = {}): Row => ({
    name,
    goal,
    ours: [...img, ...args],
    theirs: ['qemu-img', ...args],
    before: fresh,
    ...extra,
  })
  const convert = (from: string, fromFormat: string, toFormat: string, ...flags: string[]): string[] => [
    'convert',
    ...flags,
    ...['-f', fromFormat, '-O', toFormat, from, out],
  ]
  const compress = convert(images.raw, 'raw', 'qcow2', '-c')
  return [
    same('convert raw → qcow2', 1, convert(images.raw, 'raw', 'qcow2')),
    same('convert qcow2 → raw', 1, convert(images.qcow2, 'qcow2', 'raw')),
    same('convert qcow2 → qcow2', 1, convert(images.qcow2, 'qcow2', 'qcow2')),
    same('convert -c (write)', 0.4, compress),
    {
      ...same('convert -c, theirs -W -m 16', 0.75, compress),
      theirs: ['qemu-img', ...convert(images.raw, 'raw', 'qcow2', '-c', '-W', '-m', '16')],
    },
    same('compressed qcow2 → raw', 0.5, convert(images.compressed, 'qcow2', 'raw')),
    same('sparse 100 GiB raw → qcow2', 1, convert(images.sparse, 'raw', 'qcow2')),
    same('compare raw, raw', 1.5, ['compare', '-f', 'raw', '-F', 'raw', images.raw, images.twin], { net: true }),
    same('compare raw, qcow2', 1.5, ['compare', '-f', 'raw', '-F', 'qcow2', images.raw, images.qcow2], { net: true }),
    same('info', 1.5, ['info', images.qcow2], { net: true }),
    same('map', 1.5, ['map', '--output=json', images.qcow2], { net: true }),
    same('map, 64 GiB mapped', 1.5, ['map', '--output=json', images.mapped], { net: true }),
    same('check, 64 GiB mapped', 1.5, ['check', images.mapped], { net: true }),
    same(
      'bench 4 KiB reads, scattered',
      1.5,
      ['bench', '-c', '60000', '-d', '16', '-s', '4096', '-S', '1052672', '-f', 'qcow2', images.qcow2],
      { net: true },
    ),
    same(
      'bench 4 KiB writes, scattered',
      1.5,
      ['bench', '-w', '-c', '60000', '-d', '16', '-s', '4096', '-S', '1052672', '-f', 'raw', images.twin],
      { net: true },
    ),
    same(
      'bench 1 MiB reads, sequential',
      1.5,
      ['bench', '-c', '2000', '-d', '8', '-s', '1M', '-f', 'qcow2', images.qcow2],
      { net: true },
    ),
    same(
      'bench 1 MiB writes, sequential',
      1.5,
      ['bench', '-w', '-c', '1000', '-d', '8', '-s', '1M', '-f', 'raw', images.twin],
      { net: true },
    ),
  ]
}
