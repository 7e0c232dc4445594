import { describe, expect, test } from 'vitest'
import { judgeReference } from '../src/opening/gate.ts'
import { resolveReference } from '../src/options/filenames.ts'

const judge = (image: string, filename: string): boolean =>
  judgeReference('neighbours', image, 'backing', { filename, format: 'raw' }) === true

/** Whether the transport, which takes URLs by the WHATWG standard, would stay below the directory of `image`. */
function staysInside(image: string, reference: string): boolean {
  const base = new URL(image)
  const target = new URL(resolveReference(image, reference))
  const directory = base.pathname.slice(0, base.pathname.lastIndexOf('/') + 1)
  return target.origin === base.origin && target.pathname.startsWith(directory) && target.username === base.username
}

const images = [
  'http://host/images/a.qcow2',
  'http://host/a.qcow2',
  'http://host',
  'http://host/',
  'http://host?x=/y/z',
  'http://host#/y/z',
  'http://host:8080/deep/er/a.qcow2?token=a/b',
  'https://user:password@host/images/a.qcow2',
  'http://host/images/../other/a.qcow2',
  'http://host/images\\a.qcow2',
  'http:\\\\host\\images\\a.qcow2',
  'HTTP://host/images/a.qcow2',
  'http://[::1]/images/a.qcow2',
]

const outside = [
  '..',
  '../x',
  '../../x',
  'a/../../x',
  'sub/../../x',
  './../x',
  '%2e%2e/x',
  '%2E%2E/x',
  '.%2e/x',
  '%2e./x',
  '%2E./x',
  'a/%2e%2e/%2e%2e/x',
  '%2e%2e',
  '..%2fx',
  '..%2Fx',
  '%2e%2e%2fx',
  '..%5cx',
  '%252e%252e/x',
  '%252e%252e%252fx',
  '%25252e%25252e/x',
  '..\\x',
  '\\x',
  '\\\\evil\\x',
  '\\/evil/x',
  'a\\..\\..\\x',
  '.\\..\\x',
  '%2e%2e\\x',
  '/x',
  '//evil/x',
  '///evil/x',
  '/\\evil/x',
  '/..//evil/x',
  '.\t./x',
  '.\n./x',
  '.\r./x',
  '\t../x',
  ' ../x',
  '\n//evil/x',
  ' //evil/x',
  '\t/x',
  '%2\te%2e/x',
  'http://evil/x',
  'HTTP://evil/x',
  'https:x',
  'http:x',
  'http:/x',
  'http:\\\\evil\\x',
  ' http://evil/x',
  'ht\ttp://evil/x',
  'file:///etc/passwd',
  'file:x',
  'json:{"driver":"file","filename":"/etc/passwd"}',
  'nbd://evil/x',
  'blkdebug::x',
  'javascript:x',
  'data:text/plain,x',
  '?x',
  'x?y',
  'x?file=../../etc/passwd',
  '#x',
  'x#y',
  '',
  '.',
  './',
  'sub/..',
  'x\0',
  'x\x01y',
  '%00',
  'C:\\x',
  'a%2f..%2f..%2fx',
  '%zz/../..',
]

const inside = [
  'x',
  'base.qcow2',
  './x',
  'sub/x',
  'sub/deeper/x',
  'a b',
  'x%20y',
  'ä.img',
  '.hidden',
  '..x',
  'x..',
  '...',
  'a..b/x',
  '@evil/x',
  'evil.com',
  'x%3ay/z',
  '%',
]

describe('a reference in an image behind a URL', () => {
  test.each(images)('may not lead out of the directory or to another host: %s', (image) => {
    for (const name of outside) expect(judge(image, name), JSON.stringify(name)).toBe(false)
  })

  test.each(images.filter((image) => !image.includes('\\')))('may name a neighbour: %s', (image) => {
    for (const name of inside) {
      expect(judge(image, name), name).toBe(true)
      expect(staysInside(image, name), name).toBe(true)
    }
  })

  test.each(images)(
    'that is allowed stays inside by the rules of the transport, whatever its characters: %s',
    (image) => {
      const seed = Date.now() % 2 ** 31
      let state = seed
      const next = (limit: number): number => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0
        return Math.floor((state / 2 ** 32) * limit)
      }
      const parts = [
        '.',
        '..',
        '/',
        '\\',
        '%2e',
        '%2E',
        '%2f',
        '%5c',
        'a',
        '\t',
        '\n',
        ' ',
        ':',
        '@',
        '?',
        '#',
        '//',
        '%25',
        '%',
        'http',
        '\0',
        'ü',
      ]
      let allowed = 0
      for (let i = 0; i < 5000; i++) {
        const name = Array.from({ length: 1 + next(6) }, () => parts[next(parts.length)]).join('')
        if (!judge(image, name)) continue
        allowed++
        expect(staysInside(image, name), `seed ${seed}: ${JSON.stringify(name)}`).toBe(true)
      }
      if (!image.includes('\\')) expect(allowed).toBeGreaterThan(0)
    },
  )
})

describe('a reference in an image that is a file', () => {
  test.each([
    '..',
    '../x',
    'a/../../x',
    '/x',
    '//x',
    '..\\x',
    'a\\..\\x',
    '\\x',
    '\\\\server\\share\\x',
    'C:\\x',
    'C:x',
    'c:/x',
    'http://evil/x',
    'json:{}',
    'file:x',
    'x\0',
    '',
  ])('is refused: %j', (name) => {
    expect(judge('/images/a.qcow2', name)).toBe(false)
    expect(judge('a.qcow2', name)).toBe(false)
  })

  test.each(['x', './x', 'sub/x', '%2e%2e', 'a b', 'x?y', 'x#y', '..x', './a:b'])('is a neighbour: %j', (name) => {
    expect(judge('/images/a.qcow2', name)).toBe(true)
    expect(judge('a.qcow2', name)).toBe(true)
  })
})

describe('a relative name', () => {
  test.each([
    ['http://host', 'x', 'http://host/x'],
    ['http://host', 'evil/x', 'http://host/evil/x'],
    ['http://host?a/b', 'x', 'http://host/x'],
    ['http://host/', 'x', 'http://host/x'],
    ['http://host/a', 'x', 'http://host/x'],
    ['http://host/d/a?b/c', 'x', 'http://host/d/x'],
    ['d/a', 'x', 'd/x'],
    ['a', 'x', 'x'],
    ['/a', 'x', '/x'],
    ['a?b/c', 'x', 'a?b/x'],
    ['d#e/a', 'x', 'd#e/x'],
  ])('in %s, %s, stands for %s', (image, reference, name) => {
    expect(resolveReference(image, reference)).toBe(name)
  })
})
