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

/** A format of two files that opens the second by itself. */
const twofold: DriverDescriptor = {
  ...stamped,
  name: 'twofold',
  options: {},
  createOptions: {
    file: { type: 'child', role: 'storage', required: true, description: 'storage' },
    fault: { type: 'string', default: '', description: 'what goes wrong' },
  },
  validateCreate: () => undefined,
  async create({ options, createFile, children }) {
    for (const name of ['../b', 'a/b', 'a\\b', '.', '..', '', 'a\0b']) {
      await createFile(name).then(
        () => Promise.reject(new Error(`made '${name}'`)),
        (error) => expect(error.message).toBe(`'${name}' is not a plain file name`),
      )
    }
    const second = await createFile('b')
    await second.write(0, new Uint8Array([2]))
    await children.require('file').write(0, new Uint8Array([1]))
    if (options.fault === 'create') throw new BlockError('EIO', 'no second half')
  },
}

test('a format may make more files beside its own, which are flushed, closed, and removed if it fails', async () => {
  for (const fault of ['', 'create', 'a.flush', 'b.flush', 'a.close', 'b.close']) {
    const storage = new Storage()
    const driver = ram(storage)
    const failing: DriverDescriptor = {
      ...driver,
      parseFilename: (filename) => ({ disk: filename.replace(/^ram:/, '').replace('/./', '/') }),
      async open(context) {
        const image = await driver.open(context)
        const disk = String(context.options.disk).replace('/x/', '')
        const step = (name: string) => async () => {
          storage.log.push(`${name} ${disk}`)
          if (fault === `${disk}.${name}`) throw new BlockError('EIO', `${fault} fails`)
        }
        return { ...image, size: 0, flush: step('flush'), close: step('close') }
      },
    }
    const graph = new Graph({ drivers: [failing, twofold] })
    const creation = graph.createUnchecked({
      driver: 'twofold',
      file: { driver: 'ram', disk: '/x/a' },
      ...(fault === 'create' ? { fault } : {}),
    })
    if (fault === '') await creation
    else await expect(creation).rejects.toThrow(fault === 'create' ? 'no second half' : `${fault} fails`)
    expect([...storage.disks.keys()].sort(), fault).toEqual(fault === '' ? ['/x/a', '/x/b'] : [])
    expect([...graph.nodes], fault).toEqual([])
    for (const disk of ['a', 'b']) expect(storage.log, fault).toContain(`close ${disk}`)
    await graph.close()
  }
})

test('a file beside one whose name has no place for it is refused rather than made somewhere else', async () => {
  const storage = new Storage()
  const local: DriverDescriptor = { ...ram(storage), name: 'file', prefixes: [] }
  const single: DriverDescriptor = { ...twofold, create: async ({ createFile }) => void (await createFile('b')) }
  const graph = new Graph({ drivers: [ram(storage), local, single] })
  await expect(graph.createUnchecked({ driver: 'twofold', file: { driver: 'ram', disk: 'a' } })).rejects.toThrow(
    "there is no place beside 'ram:a' for 'b'",
  )
  expect([...storage.disks.keys()]).toEqual([])
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
