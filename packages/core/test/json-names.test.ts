import { describe, expect, test } from 'vitest'
import { Graph } from '../src/opening/graph.ts'
import { fromQapi, parseJsonFilename, toQapi } from '../src/options/filenames.ts'
import { ram, Storage } from './drivers.ts'

const objects = (depth: number): string => `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`
const tooDeep = 'Could not parse the JSON options: JSON nesting depth limit exceeded'

describe('a json: name', () => {
  test('may nest 1024 deep and no deeper, as in QEMU', () => {
    expect(Object.keys(parseJsonFilename(`json:${objects(1024)}`))).toEqual(['a'])
    for (const depth of [1025, 2000, 100_000]) {
      expect(() => parseJsonFilename(`json:${objects(depth)}`)).toThrow(tooDeep)
      expect(() => parseJsonFilename(`json:{"a":${'['.repeat(depth)}`)).toThrow(tooDeep)
      expect(() => parseJsonFilename(`json:{"a":${'[{"b":'.repeat(depth)}`)).toThrow(tooDeep)
    }
  })

  test('has strings in quotes of both kinds, no key twice and one value, as in QEMU', () => {
    expect(parseJsonFilename(`json:{'a': "it's", "b": 'x\\u0041\\'"', 'c': [-1.5e3, true, null]}`)).toEqual({
      a: "it's",
      b: 'xA\'"',
      c: [-1500, true, null],
    })
    expect(() => parseJsonFilename('json:{\'a\': 1, "a": 2}')).toThrow('JSON parse error, duplicate key')
    expect(() => parseJsonFilename("json:{'a': 1} 2")).toThrow('Expecting at most one JSON value')
    expect(() => parseJsonFilename("json:{'a': 01}")).toThrow("JSON parse error, stray '01'")
    expect(() => parseJsonFilename('json:[1]')).toThrow('Invalid JSON object given')
    expect(parseJsonFilename('json:{"a": [1E+5, 1e-2, 2E3, 0.5e+1]}')).toEqual({ a: [100000, 0.01, 2000, 5] })
    for (const half of ['1e+x', '1E-.', '1e.', '1.e', '-+']) {
      expect(() => parseJsonFilename(`json:{'a': ${half}}`)).toThrow(`JSON parse error, stray '${half}'`)
    }
    for (const character of ['\ufffe', '\ufdd0', '\u{1ffff}', '\ud800', '\udc00']) {
      expect(() => parseJsonFilename(`json:{"a": "${character}"}`)).toThrow('invalid UTF-8 sequence in string')
    }
  })

  test('may have two million tokens and no more, as in QEMU, and is read in little time', () => {
    const list = (items: number): string => `json:{"a":[${'1,'.repeat(items)}1]}`
    const begin = performance.now()
    expect(parseJsonFilename(list(2 ** 20 - 5)).a).toHaveLength(2 ** 20 - 4)
    expect(performance.now() - begin).toBeLessThan(3000)
    const limit = 'Could not parse the JSON options: JSON token count limit exceeded'
    expect(() => parseJsonFilename(list(2 ** 20))).toThrow(limit)
  })

  test('has names in the spelling of QAPI alone, and they are found again in that spelling', () => {
    const options = { 'cache-size': 1, new_state: 2, readZeroes: 3, Locking: 4, 'file.read-only': 5 }
    const read = parseJsonFilename(`json:${JSON.stringify(options)}`)
    expect(read).toMatchObject({ cacheSize: 1, new_state: 2, file: { readOnly: 5 } })
    expect(read).not.toHaveProperty('readZeroes')
    expect(toQapi(read)).toMatchObject({ 'cache-size': 1, new_state: 2, readZeroes: 3, Locking: 4 })
  })

  test('may be long', () => {
    const text = 'x'.repeat(1e6)
    expect(parseJsonFilename(`json:{"a":"${text}\\n"}`)).toEqual({ a: `${text}\n` })
  })

  test('is not taken for deep because of brackets in its texts', () => {
    const text = '{['.repeat(3000)
    expect(parseJsonFilename(`json:{"a": "${text}\\"${text}", "b": "\\\\", "c": {}}`)).toEqual({
      a: `${text}"${text}`,
      b: '\\',
      c: {},
    })
  })

  test('with dotted keys is held to the same limit', () => {
    const key = (depth: number): string => `${'file.'.repeat(depth - 1)}driver`
    expect(() => parseJsonFilename(`json:{"${key(1024)}": "x"}`)).not.toThrow()
    for (const depth of [1025, 3000, 200_000]) {
      expect(() => parseJsonFilename(`json:{"${key(depth)}": "x"}`)).toThrow(/^option 'file\.file.*…' nests too deep$/)
      expect(() => fromQapi({ [key(depth)]: 'x' })).toThrow(/nests too deep$/)
    }
  })

  test('whose dotted keys add to its nesting is held to the limit', () => {
    const level = `{"${'a.'.repeat(99)}a":`
    const name = `json:${level.repeat(500)}1${'}'.repeat(500)}`
    expect(() => parseJsonFilename(name)).toThrow(/nests too deep$/)
  })

  test.each([
    '__proto__',
    'constructor',
    'toString',
    'hasOwnProperty',
    'prototype',
    '__proto__.polluted',
    'constructor.prototype.polluted',
  ])('with the key %s is refused like any unknown option and changes no object', async (key) => {
    const graph = new Graph({ drivers: [ram(new Storage())] })
    for (const value of [{ polluted: true }, 'x', null, 1]) {
      const options = `{"driver": "ram", "disk": "x", ${JSON.stringify(key)}: ${JSON.stringify(value)}}`
      await expect(graph.open(`json:${options}`)).rejects.toMatchObject({
        code: 'EINVAL',
        message: expect.stringMatching(/doesn't support the option/),
      })
    }
    expect(({} as Record<string, unknown>).polluted).toBeUndefined()
    await graph.close()
  })
})
