import { describe, expect, it } from 'vitest'
import { emptyMedium } from '../src/driver.ts'
import type { DriverDescriptor, LazyDriver } from '../src/index.ts'
import { Registry } from '../src/opening/registry.ts'

const open = async () => ({ size: 0, read: async () => undefined })

function format(name: string, probe?: DriverDescriptor['probe']): DriverDescriptor {
  return { name, kind: 'format', description: name, options: {}, open, ...(probe === undefined ? {} : { probe }) }
}

/** A driver that counts how often it is loaded. */
function lazy(driver: DriverDescriptor, more: Partial<LazyDriver> = {}) {
  const loads: string[] = []
  const load = async () => {
    loads.push(driver.name)
    return driver
  }
  return { loads, entry: { name: driver.name, kind: driver.kind, ...more, load } satisfies LazyDriver }
}

const head = new Uint8Array([1, 2, 3])

describe('a registry', () => {
  it('knows its drivers by name, sorted, and takes each name once', async () => {
    const registry = new Registry([format('b'), format('a'), format('c')])
    expect(registry.names).toEqual(['a', 'b', 'c'])
    expect((await registry.get('a')).name).toBe('a')
    expect(() => new Registry([format('a'), format('a')])).toThrow(
      expect.objectContaining({ code: 'EINVAL', message: "driver 'a' is registered twice" }),
    )
  })

  it('takes a driver as it is, or its name, and needs one of the two', async () => {
    const own = format('own')
    const registry = new Registry([format('a')])
    expect(await registry.of(own)).toBe(own)
    expect((await registry.of('a')).name).toBe('a')
    const needed = { code: 'EINVAL', message: "A value is required for option 'driver'" }
    await expect(registry.of(undefined)).rejects.toMatchObject(needed)
    await expect(registry.of(null)).rejects.toMatchObject({ message: "Unknown driver 'null'" })
    await expect(registry.of({})).rejects.toMatchObject({ code: 'ENOTSUP' })
    expect(registry.names).toEqual(['a'])
  })

  it('says how to install a driver that it has not', async () => {
    for (const registry of [new Registry([]), new Registry([], async () => undefined)]) {
      await expect(registry.get('vdi')).rejects.toMatchObject({
        code: 'ENOTSUP',
        message: "Unknown driver 'vdi'",
        hint: 'no driver of that name is registered: pass one, of a package that has it, to new Graph({ drivers: [...] })',
      })
    }
  })

  it('loads a driver when it is first needed, once', async () => {
    const { entry, loads } = lazy({ ...format('a'), kind: 'protocol' }, { prefixes: ['p', 'q'] })
    const registry = new Registry([entry])
    expect([registry.names, loads]).toEqual([['a'], []])
    const driver = await registry.forPrefix('p')
    expect(await registry.forPrefix('q')).toBe(driver)
    expect(await registry.get('a')).toBe(driver)
    expect(await registry.of('a')).toBe(driver)
    expect(loads).toEqual(['a'])
  })

  it('finds a driver that was not registered, by its name or a prefix that it has, and keeps it', async () => {
    const asked: string[] = []
    const driver: DriverDescriptor = { ...format('a'), prefixes: ['p'] }
    const resolve = async (name: string) => {
      asked.push(name)
      return name === 'x' ? undefined : driver
    }
    const registry = new Registry([], resolve)
    expect(await registry.forPrefix('x')).toBeUndefined()
    expect(await registry.forPrefix('wrong')).toBeUndefined()
    expect(registry.names).toEqual([])
    expect(await registry.forPrefix('p')).toBe(driver)
    expect(await registry.forPrefix('p')).toBe(driver)
    expect(await registry.get('a')).toBe(driver)
    expect(await registry.get('alias')).toBe(driver)
    expect(asked).toEqual(['x', 'wrong', 'p', 'alias'])
    const bare = new Registry([], async () => format('bare'))
    expect(await bare.forPrefix('p')).toBeUndefined()
    expect(await new Registry([]).forPrefix('p')).toBeUndefined()
  })

  it('takes a path for a file unless a driver claims it', async () => {
    const claims = { ...format('dev'), claimsPath: async (path: string) => path === '/dev/x' }
    const registry = new Registry([format('a'), claims])
    expect([await registry.forPath('/dev/x'), await registry.forPath('/x')]).toEqual(['dev', 'file'])
  })
})

describe('a probe', () => {
  it('goes by the surest format, the first of equals, and is raw when none is sure', async () => {
    const seen: unknown[] = []
    const names = async (...scores: readonly (number | undefined)[]) => {
      const formats = scores.map((score, i) =>
        format(
          `f${i}`,
          score === undefined
            ? undefined
            : (...given) => {
                seen.push(given)
                return score
              },
        ),
      )
      return new Registry(formats).probe(head, 'name')
    }
    expect(await names(1, 100, 50)).toBe('f1')
    expect(await names(2, 2)).toBe('f0')
    expect(await names(0, 0)).toBe('raw')
    expect(await names(undefined)).toBe('raw')
    expect(await names(undefined, 1)).toBe('f1')
    expect(seen[0]).toEqual([head, 'name'])
  })

  it('asks no protocol, and loads only formats that cannot be asked before', async () => {
    const protocol: DriverDescriptor = { ...format('p', () => 100), kind: 'protocol' }
    const unknown = lazy(format('f', () => 3))
    const known = lazy(format('g'), { probe: () => 2 })
    const registry = new Registry([protocol, unknown.entry, known.entry])
    expect(registry.looksFormatted(head, '')).toBe(true)
    expect([unknown.loads, known.loads]).toEqual([[], []])
    expect(await registry.probe(head, '')).toBe('f')
    expect([unknown.loads, known.loads]).toEqual([['f'], []])
    expect(new Registry([protocol]).looksFormatted(head, '')).toBe(false)
    expect(await new Registry([protocol]).probe(head, '')).toBe('raw')
  })

  it('loads no format whose signature is known and does not stand there, and never raw', async () => {
    const signed = new Uint8Array([...'QFI\xfb\0\0\0\x03'].map((char) => char.charCodeAt(0)))
    for (const [bytes, loads] of [
      [head, []],
      [signed, ['qcow2']],
    ] as const) {
      const known = lazy(format('qcow2', () => 100))
      const plain = lazy(format('raw', () => 100))
      expect(await new Registry([known.entry, plain.entry]).probe(bytes, '')).toBe(loads[0] ?? 'raw')
      expect([known.loads, plain.loads]).toEqual([loads, []])
    }
  })

  it('of what is to be written into a raw disk counts formats that are surer than raw', () => {
    const looks = (name: string, score: number) => new Registry([format(name, () => score)]).looksFormatted(head, '')
    expect([looks('f', 2), looks('f', 1), looks('f', 0), looks('raw', 100)]).toEqual([true, false, false, false])
    expect(new Registry([format('f')]).looksFormatted(head, '')).toBe(false)
  })

  it('of a node reads its first 2048 bytes, or all there are', async () => {
    const lengths: number[] = []
    const registry = new Registry([format('f', (bytes) => (bytes[0] === 9 ? 100 : 0))])
    for (const size of [100, 5000]) {
      const node = emptyMedium()
      node.attachImage({
        size,
        read: async (offset, buf) => {
          lengths.push(offset, buf.length)
          buf[0] = 9
        },
      })
      expect(await registry.probeNode(node)).toBe('f')
    }
    expect(lengths).toEqual([0, 100, 0, 2048])
  })

  it('of a node of a format that has no driver here is refused', async () => {
    const node = emptyMedium()
    const signature = new Uint8Array([81, 70, 73, 251, 0, 0, 0, 3])
    node.attachImage({
      size: 4096,
      read: async (offset, buf) => buf.set(signature.subarray(offset, offset + buf.length)),
    })
    await expect(new Registry([]).probeNode(node)).rejects.toMatchObject({ code: 'ENOTSUP' })
    expect(await new Registry([format('f', () => 5)]).probeNode(node)).toBe('f')
  })
})
