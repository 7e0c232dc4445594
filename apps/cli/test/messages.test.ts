import { BlockError } from '@diskgraph/core'
import { CommandError, showFailure, UsageError, visible } from '@diskgraph/tools'
import { expect, test } from 'vitest'
import { programName } from '../src/program-name.ts'
import { capturedTerminal } from './captured-terminal.ts'

test('messages begin with the name that the program was called by', () => {
  expect(programName('/usr/bin/qemu-img')).toBe('qemu-img')
  expect(programName('/x/bin/dg-img.js')).toBe('dg-img')
  const terminal = capturedTerminal('qemu-img')
  expect(showFailure(terminal, new CommandError('no such thing'))).toBe(1)
  expect(terminal.stderr).toBe('qemu-img: no such thing\n')
})

test('a usage error shows the way to the help', () => {
  const terminal = capturedTerminal('dg-img')
  showFailure(terminal, new UsageError('Expecting one image file name'))
  expect(terminal.stderr).toBe("dg-img: Expecting one image file name\nTry 'dg-img --help' for more information\n")
})

test('hints of our own are for people only', () => {
  const error = new BlockError('ENOTSUP', "Unknown driver 'x'", { hint: 'npm install it' })
  const forScripts = capturedTerminal('dg-img')
  const forPeople = capturedTerminal('diskgraph', { forPeople: true })
  showFailure(forScripts, error)
  showFailure(forPeople, error)
  expect(forScripts.stderr).toBe("dg-img: Unknown driver 'x'\n")
  expect(forPeople.stderr).toBe("diskgraph: Unknown driver 'x'\nhint: npm install it\n")
})

test('an unexpected error is one line without a stack', () => {
  const terminal = capturedTerminal('dg-img')
  expect(showFailure(terminal, new TypeError('x is undefined'))).toBe(1)
  expect(terminal.stderr).toBe('dg-img: x is undefined\n')
})

test('control characters in names are shown as they are written in C', () => {
  expect(visible('a\x1b[31mb\x07\x9b')).toBe('a\\x1b[31mb\\x07\\x9b')
  expect(visible('ünïcödé')).toBe('ünïcödé')
})
