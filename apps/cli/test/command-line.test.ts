import { describe, expect, test } from 'vitest'
import { CommandLine } from '../src/command-line.ts'
import { asksForHelp, joinOptions, parseKeyValues } from '../src/key-values.ts'

const grammar = {
  format: { short: 'f', long: 'format', argument: 'FORMAT', description: 'a' },
  quiet: { short: 'q', description: 'b' },
  progress: { short: 'p', description: 'c' },
  output: { long: 'output', argument: 'human|json', description: 'd' },
  imageOpts: { long: 'image-opts', description: 'e' },
} as const

function parse(...words: string[]): { options: string[]; operands: string[] } {
  const line = new CommandLine(grammar, words)
  const options = [...line].map(({ name, value }) => (value === '' ? name : `${name}=${value}`))
  return { options, operands: line.operands }
}

describe('command lines', () => {
  test('short options cluster, and the last of them takes the rest or the next word', () => {
    expect(parse('-qpfraw', 'x').options).toEqual(['quiet', 'progress', 'format=raw'])
    expect(parse('-qf', 'raw', 'x')).toEqual({ options: ['quiet', 'format=raw'], operands: ['x'] })
  })

  test('long options take =value or the next word, and may be abbreviated', () => {
    expect(parse('--output=json').options).toEqual(['output=json'])
    expect(parse('--output', 'json').options).toEqual(['output=json'])
    expect(parse('--out', 'json', '--image').options).toEqual(['output=json', 'imageOpts'])
  })

  test('options may stand behind operands, and -- ends them', () => {
    expect(parse('a', '-q', 'b')).toEqual({ options: ['quiet'], operands: ['a', 'b'] })
    expect(parse('-q', '--', '-p', '--x')).toEqual({ options: ['quiet'], operands: ['-p', '--x'] })
    expect(parse('-').operands).toEqual(['-'])
  })

  test('an unknown option, a missing value and a value that is not wanted are usage errors', () => {
    expect(() => parse('-Z')).toThrow("unrecognized option '-Z'")
    expect(() => parse('--frobnicate')).toThrow("unrecognized option '--frobnicate'")
    expect(() => parse('-f')).toThrow("missing argument for option '-f'")
    expect(() => parse('--output')).toThrow("missing argument for option '--output'")
    expect(() => parse('--image-opts=x')).toThrow("unrecognized option '--image-opts=x'")
  })

  test('what comes before an error has been handed out', () => {
    const seen: string[] = []
    expect(() => {
      for (const { name } of new CommandLine(grammar, ['-q', '-Z'])) seen.push(name)
    }).toThrow()
    expect(seen).toEqual(['quiet'])
  })
})

describe('key-value lists', () => {
  test('commas separate pairs, and double commas stand for one', () => {
    expect(parseKeyValues('a=1,b=x,,y,c=')).toEqual([
      { key: 'a', value: '1' },
      { key: 'b', value: 'x,y' },
      { key: 'c', value: '' },
    ])
  })

  test('a word without a value is on, with no in front off, and the first may stand for a known key', () => {
    expect(parseKeyValues('lazy_refcounts,nonocow')).toEqual([
      { key: 'lazy_refcounts', value: 'on' },
      { key: 'nocow', value: 'off' },
    ])
    expect(parseKeyValues('a.img,x=1', 'file')[0]).toEqual({ key: 'file', value: 'a.img' })
  })

  test('lists that could change their neighbours are not joined', () => {
    expect(joinOptions('a=1', 'b=2')).toBe('a=1,b=2')
    expect(joinOptions(undefined, 'a=x,,')).toBe('a=x,,')
    expect(() => joinOptions('a=1', ',b=2')).toThrow('Invalid option list: ,b=2')
    expect(() => joinOptions('a=1', 'b=2,')).toThrow('Invalid option list: b=2,')
    expect(() => joinOptions('a=1', '')).toThrow('Invalid option list: ')
  })

  test('help is a word of its own', () => {
    expect(asksForHelp('a=1,help')).toBe(true)
    expect(asksForHelp('?')).toBe(true)
    expect(asksForHelp('a=help,helper=1')).toBe(false)
  })
})
