import { describe, expect, it } from 'vitest'
import type { DriverDescriptor } from '../src/index.ts'
import { raw } from './drivers.ts'
import { FakeDrivers } from './fake-drivers.ts'

const host: DriverDescriptor = {
  name: 'host',
  kind: 'protocol',
  description: 'has no short names',
  options: {
    url: { type: 'string', description: 'place' },
    word: { type: 'string', confidential: true, description: 'secret' },
    extra: { type: 'value', check: () => true, expects: 'anything', description: 'object' },
  },
  open: async () => ({ size: 512, read: async () => undefined }),
}

const window: DriverDescriptor = {
  ...raw,
  name: 'window',
  options: {
    ...raw.options,
    offset: { type: 'integer', strong: true, description: 'changes the content' },
    pace: { type: 'integer', description: 'does not' },
  },
}

async function nameOf(definition: Readonly<Record<string, unknown>>): Promise<string> {
  const graph = new FakeDrivers().graph([raw, host, window])
  const disk = await graph.addUnchecked({ readOnly: true, ...definition })
  const { filename } = disk
  await graph.close()
  return filename
}

const named = { driver: 'disk', disk: 'd' }

describe('the name of a node', () => {
  it('is that of its file, below formats that change nothing', async () => {
    expect(await nameOf(named)).toBe('disk:d')
    expect(await nameOf({ driver: 'window', pace: 3, file: { driver: 'raw', file: named } })).toBe('disk:d')
  })

  it('tells the options that change the content', async () => {
    expect(await nameOf({ driver: 'window', offset: 512, pace: 3, file: named })).toBe(
      'json:{"offset": 512, "driver": "window", "file": {"driver": "disk", "disk": "d"}}',
    )
  })

  it('is a json: name, with what is below, where there is no shorter one', async () => {
    const own = { driver: 'host', url: 'http://me:word@host/a', word: 'secret', extra: {} }
    const inner = '{"url": "http://host/a", "driver": "host"}'
    expect(await nameOf(own)).toBe(`json:${inner}`)
    expect(await nameOf({ driver: 'raw', file: own })).toBe(`json:{"driver": "raw", "file": ${inner}}`)
    expect(await nameOf({ driver: 'filter', file: named })).toBe(
      'json:{"driver": "filter", "file": {"driver": "disk", "disk": "d"}}',
    )
  })

  it('has lists of children, and no backing file', async () => {
    const children = [named, { driver: 'disk', disk: 'e' }]
    expect(await nameOf({ driver: 'many', children })).toBe(
      'json:{"children": [{"driver": "disk", "disk": "d"}, {"driver": "disk", "disk": "e"}], "driver": "many"}',
    )
    const overlay = { driver: 'overlay', file: named, backing: { driver: 'disk', disk: 'b' } }
    expect(await nameOf({ driver: 'filter', file: overlay })).toBe(
      'json:{"driver": "filter", "file": {"driver": "overlay", "file": {"driver": "disk", "disk": "d"}}}',
    )
  })
})
