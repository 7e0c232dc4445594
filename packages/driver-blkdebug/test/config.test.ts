import { describe, expect, it } from 'vitest'
import { parseConfig } from '../src/config.ts'

describe('configuration files of blkdebug', () => {
  it('hold sections with quoted values, comments and blank lines', () => {
    const text = [
      '# comment',
      '',
      '[inject-error]',
      '  event = "read_aio"',
      'errno="28"  # ignored',
      '[set-state "one"]\r',
      'event = "write_aio"\r',
      'new_state = ""',
      '[inject-error "one"]',
      'event = "none"',
      'event = "l2_load"',
    ].join('\n')
    expect(parseConfig(text)).toEqual({
      injectError: [{ event: 'read_aio', errno: '28' }, { event: 'l2_load' }],
      setState: [{ event: 'write_aio', new_state: '' }],
    })
  })

  it.each([
    ['event = "none"', 'line 1: no group defined'],
    ['[foo]', "line 1: There is no option group 'foo'"],
    ['[toString]', "line 1: There is no option group 'toString'"],
    ['\n[inject-error]\nevent = none', 'line 3: expected [section] or name = "value"'],
    ['[inject-error]\n; comment', 'line 2: expected [section] or name = "value"'],
    ['[inject-error "a"]\n[inject-error "a"]', "line 2: Duplicate ID 'a' for inject-error"],
  ])('%j is refused', (text, message) => {
    expect(() => parseConfig(text)).toThrow(message)
  })

  it('are read in time that grows with their length only', () => {
    for (const text of [
      '[inject-error '.repeat(60_000),
      `[inject-error${' '.repeat(800_000)}`,
      `a${' '.repeat(800_000)}`,
    ]) {
      const start = performance.now()
      expect(() => parseConfig(text)).toThrow('expected')
      expect(performance.now() - start).toBeLessThan(1000)
    }
  })
})
