import { describe, expect, it } from 'vitest'
import { ObjectTable } from '../src/graph/object-table.ts'
import { BlockError } from '../src/index.ts'
import { Listeners } from '../src/listeners.ts'
import { judgeReference } from '../src/opening/gate.ts'
import { describingFailure, nameOfDefinition, newScope, Openings } from '../src/opening/openings.ts'
import { topBase } from '../src/options/base-options.ts'
import { isPending } from './fake-drivers.ts'

describe('the gate', () => {
  it('gives its reason', () => {
    const reference = (filename: string) => ({ filename, format: 'raw' })
    const reason = (filename: string, image = 'a') =>
      judgeReference('neighbours', image, 'backing', reference(filename))
    const refused = (reason: string) => ({ code: 'EACCES', reason })
    for (const name of ['', 'a\0']) expect(reason(name)).toEqual(refused('it is no file name'))
    expect(reason('nbd://x')).toEqual(refused('it names a protocol'))
    for (const name of ['/x', '\\x', 'C:x']) expect(reason(name)).toEqual(refused('it is an absolute path'))
    for (const [name, image] of [
      ['../x', 'a'],
      ['x?', 'http://host/a'],
    ] as const) {
      expect(reason(name, image)).toEqual(refused('it leads out of the directory of the image'))
    }
    expect(reason('x')).toBe(true)
    expect(judgeReference('neighbours', 'a', 'backing', { filename: 'x' })).toEqual(
      refused('its format is not recorded in the image, and guessing it is not safe'),
    )
    expect(judgeReference('deny', 'a', 'backing', reference('x'))).toEqual(
      refused('references inside images are not followed'),
    )
    expect(judgeReference('allow', 'a', 'backing', reference('/x'))).toBe(true)
  })

  it('may be a function, which gets to know all of the reference', () => {
    const seen: unknown[] = []
    const verdict = { code: 'EACCES', reason: 'mine' } as const
    const policy = (given: unknown) => {
      seen.push(given)
      return verdict
    }
    expect(judgeReference(policy, 'img', 'extents.1', { filename: 'x', format: 'raw' })).toBe(verdict)
    expect(seen).toEqual([{ filename: 'x', format: 'raw', image: 'img', child: 'extents.1' }])
  })
})

describe('objects', () => {
  it('have one type each', () => {
    const table = new ObjectTable()
    table.add('secret', 'a', 1)
    table.add('secret', 'a', 2)
    expect(table.get('secret', 'a')).toBe(2)
    expect(() => table.add('tls-creds', 'a', 3)).toThrow(
      expect.objectContaining({
        code: 'EINVAL',
        message: "attempt to add duplicate property 'a' to object (type 'container')",
      }),
    )
    const none = { code: 'EINVAL', message: "No tls-creds with id 'a'" }
    expect(() => table.get('tls-creds', 'a')).toThrow(expect.objectContaining(none))
    table.delete('a')
    expect(() => table.get('secret', 'a')).toThrow("No secret with id 'a'")
    table.add('tls-creds', 'a', 3)
    expect(table.get('tls-creds', 'a')).toBe(3)
  })
})

describe('listeners', () => {
  it('hear until they are taken away, and one that fails is warned of', () => {
    const warnings: string[] = []
    const heard: string[] = []
    const listeners = new Listeners<number>((message) => warnings.push(message))
    listeners.add(() => {
      throw new Error('deaf')
    })
    const end = listeners.add((event) => heard.push(`${event}`))
    listeners.tell(5, 'a number')
    end()
    listeners.tell(6, 'a number')
    expect([heard, warnings[0]]).toEqual([['5'], 'a listener of a number failed: deaf'])
  })
})

describe('a failure to open', () => {
  const fail = (name: string, error: unknown) =>
    describingFailure(name, () => Promise.reject(error)).catch((caught) => caught)

  it('says once what was to be opened, without its credentials', async () => {
    const cause = new BlockError('EACCES', 'no', { hint: 'ask', node: 'n' })
    const error = await fail('http://me:word@host/a', cause)
    expect(error).toMatchObject({ code: 'EACCES', hint: 'ask', node: 'n', cause })
    expect(error.message).toMatch(/^Could not open 'http:\/\/.*host\/a': no$/)
    expect(error.message).not.toContain('word')
    const again = new BlockError('EIO', "Could not open 'x': no")
    expect(await fail('x', again)).toBe(again)
    expect((await fail('y', again)).message).toBe("Could not open 'y': Could not open 'x': no")
    expect(await describingFailure('x', async () => 5)).toBe(5)
  })

  it('is named after the innermost file name, or the driver', () => {
    expect(nameOfDefinition({ driver: 'raw', file: { driver: 'file', filename: '/a' } })).toBe('/a')
    expect(nameOfDefinition({ driver: 'x', image: { file: { url: 'http://h' } } })).toBe('http://h')
    expect(nameOfDefinition({ driver: 'raw', file: 'node' })).toBe('node')
    expect(nameOfDefinition({ driver: 'null' })).toBe('null')
    expect(nameOfDefinition({ driver: 'null', file: null, filename: 5 })).toBe('null')
    expect([nameOfDefinition({}), nameOfDefinition(undefined as never)]).toEqual([undefined, undefined])
  })
})

describe('openings', () => {
  it('are aborted by a closing, which waits for them, and the next ones are not', async () => {
    const openings = new Openings()
    const own = new AbortController()
    let end = (): void => undefined
    const signals: (AbortSignal | undefined)[] = []
    const opening = openings.run({ signal: own.signal }, ({ signal }) => {
      signals.push(signal)
      return new Promise<void>((resolve) => {
        end = resolve
      })
    })
    const reason = new Error('closing')
    const closing = openings.end(reason)
    expect(await isPending(closing)).toBe(true)
    expect([signals[0]?.aborted, signals[0]?.reason]).toEqual([true, reason])
    end()
    await Promise.all([opening, closing])
    own.abort()
    for (const signal of [own.signal, undefined]) {
      const aborted = await openings.run({ ...(signal && { signal }) }, async (scope) => scope.signal?.aborted)
      expect(aborted).toBe(signal !== undefined)
    }
    await expect(openings.run({}, () => Promise.reject(reason))).rejects.toBe(reason)
    await openings.end(reason)
  })

  it('begin at the top of a chain, with what they were told', () => {
    const plain = { inspect: false, check: false, withoutBacking: false, depth: 0, base: topBase }
    expect(newScope({})).toMatchObject({ ...plain, contain: undefined, change: undefined })
    const told = { inspect: true, check: true, withoutBacking: true }
    expect(newScope(told)).toMatchObject(told)
  })
})
