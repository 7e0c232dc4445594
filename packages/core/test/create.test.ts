import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import {
  BlockError,
  type DriverDescriptor,
  describeErrorCode,
  errorCodeOf,
  errorCodes,
  Graph,
  isBlockError,
} from '../src/index.ts'
import { pass, ram, Storage } from './drivers.ts'

const stamped: DriverDescriptor = {
  name: 'stamped',
  kind: 'format',
  description: 'a format that writes one byte',
  options: { file: { type: 'child', role: 'storage', required: true, description: 'storage' } },
  createOptions: {
    file: { type: 'child', role: 'storage', required: true, description: 'storage' },
    stamp: { type: 'integer', required: true, description: 'the byte', maximum: 300 },
  },
  validateCreate(options) {
    if (options.stamp === 0) throw new BlockError('EINVAL', 'a stamp of 0 cannot be seen')
  },
  async create({ options, children }) {
    if ((options.stamp as number) > 255) throw new BlockError('EIO', 'the stamp broke')
    await children.require('file').write(0, new Uint8Array([options.stamp as number]))
  },
  open: () => Promise.reject(new BlockError('ENOTSUP', 'only created here')),
}

function setUp() {
  const storage = new Storage()
  return { storage, graph: new Graph({ drivers: [ram(storage), pass, stamped] }) }
}

test('create makes the storage, then the format in it, and flushes', async () => {
  const { storage, graph } = setUp()
  await graph.createUnchecked({ driver: 'stamped', stamp: 7, file: { driver: 'ram', disk: 'a' } })
  expect(storage.disks.get('a')).toEqual(new Uint8Array([7]))
  expect(storage.log).toContain('flush')
  expect([...graph.nodes]).toEqual([])
})

test('a failed create removes the storage that it made', async () => {
  const { storage, graph } = setUp()
  await expect(
    graph.createUnchecked({ driver: 'stamped', stamp: 256, file: { driver: 'ram', disk: 'a' } }),
  ).rejects.toThrow('the stamp broke')
  expect(storage.disks.has('a')).toBe(false)
})

test('options that cannot work leave an existing file alone', async () => {
  const { storage, graph } = setUp()
  storage.disks.set('a', new Uint8Array([1, 2, 3]))
  for (const stamp of [0, 301]) {
    await expect(
      graph.createUnchecked({ driver: 'stamped', stamp, file: { driver: 'ram', disk: 'a' } }),
    ).rejects.toMatchObject({ code: 'EINVAL' })
  }
  expect(storage.disks.get('a')).toEqual(new Uint8Array([1, 2, 3]))
})

test('a driver that creates nothing says so', async () => {
  const { graph } = setUp()
  await expect(graph.createUnchecked({ driver: 'pass' })).rejects.toThrow(
    "Format driver 'pass' does not support image creation",
  )
})

test('every error code has its words, and system errors keep their code', () => {
  for (const code of errorCodes) expect(describeErrorCode(code)).not.toBe('')
  expect(errorCodeOf(Object.assign(new Error('x'), { code: 'ENOSPC' }))).toBe('ENOSPC')
  expect(errorCodeOf(Object.assign(new Error('x'), { code: 'EOPNOTSUPP' }))).toBe('ENOTSUP')
  expect(errorCodeOf(new TypeError('x'))).toBe('EIO')
  expect(isBlockError(new BlockError('EIO', 'x'))).toBe(true)
  expect(isBlockError(new Error('x'))).toBe(false)
})

test('the page of error codes lists every code with its words, and no other', () => {
  const page = readFileSync(new URL('../../../docs/errors.md', import.meta.url), 'utf8')
  const rows = [...page.matchAll(/^\| `(E\w+)` \| ([^|]+) \|/gm)].map(([, code, words]) => [code, words?.trim()])
  expect(rows).toEqual(errorCodes.map((code) => [code, describeErrorCode(code)]))
})
