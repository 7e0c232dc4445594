import { describe, expect, it } from 'vitest'
import type { DriverDescriptor } from '../src/index.ts'
import { namedDefinition } from '../src/opening/named-definition.ts'
import { Registry } from '../src/opening/registry.ts'

const open = async () => ({ size: 0, read: async () => undefined })
const child = (role: 'filtered' | 'storage') => ({ type: 'child', role, required: true, description: 'child' }) as const
const parse = (filename: string) => ({ filename: filename.replace(/^[a-z]+:/, '') })

const drivers: DriverDescriptor[] = [
  { name: 'file', kind: 'protocol', description: 'file', prefixes: ['file'], parseFilename: parse, options: {}, open },
  { name: 'bare', kind: 'protocol', description: 'takes any name', options: {}, open },
  { name: 'format', kind: 'format', description: 'format', options: { file: child('storage') }, open },
  { name: 'group', kind: 'filter', description: 'has no file', options: {}, open },
  {
    name: 'probe',
    kind: 'filter',
    description: 'a filter with names',
    options: { image: child('filtered') },
    prefixes: ['probe'],
    parseFilename: (filename) => ({ level: 1, image: { filename: filename.slice('probe:'.length) } }),
    open,
  },
]

const define = (filename: string, options: Record<string, unknown> = {}) =>
  namedDefinition(new Registry(drivers, undefined), filename, options)

describe('a file name and options', () => {
  it.each([
    ['a', {}, { driver: 'file', filename: 'a' }],
    ['a', { driver: 'bare' }, { driver: 'bare', filename: 'a' }],
    ['file:a', { driver: 'file', locking: 'off' }, { driver: 'file', filename: 'a', locking: 'off' }],
    ['a', { driver: 'format' }, { driver: 'format', file: { driver: 'file', filename: 'a' } }],
    [
      'probe:a',
      { driver: 'format', file: { size: 5 } },
      { driver: 'format', file: { driver: 'probe', level: 1, image: { filename: 'a' }, size: 5 } },
    ],
    ['a', { driver: 'probe' }, { driver: 'probe', image: { filename: 'a' } }],
    [
      'a',
      { driver: 'probe', image: { driver: 'format' } },
      { driver: 'probe', image: { driver: 'format', file: { driver: 'file', filename: 'a' } } },
    ],
    [
      'probe:a',
      { image: { driver: 'format', file: { driver: 'bare' } }, level: 1 },
      { driver: 'probe', level: 1, image: { driver: 'format', file: { driver: 'bare', filename: 'a' } } },
    ],
    ['a', { driver: 'group', children: [] }, { driver: 'group', children: [] }],
  ])('%s with %j', async (filename, options, expected) => {
    expect(await define(filename, options)).toEqual(expected)
  })

  it('may not say two things of one option', async () => {
    const both = "Can't specify 'file' and 'filename' options at the same time"
    await expect(define('a', { driver: 'file', filename: 'a' })).rejects.toThrow(both)
    await expect(define('a', { driver: 'format', file: { filename: 'b' } })).rejects.toThrow(both)
    await expect(define('probe:a', { image: { filename: 'b' } })).rejects.toThrow(both)
    await expect(define('probe:a', { level: 2 })).rejects.toThrow("Can't specify 'file' and 'level' options")
    await expect(define('probe:a', { image: 'node' })).rejects.toThrow("Parameter 'image' says what 'a' says")
    await expect(define('a', { driver: 'format', file: 'node' })).rejects.toThrow("Parameter 'file' says what 'a' says")
    await expect(define('nowhere:a')).rejects.toThrow("Unknown protocol 'nowhere'")
  })
})
