import { writeFileSync } from 'node:fs'
import { Graph } from '@diskgraph/core'
import { TempFolder } from '@diskgraph/driver-testkit'
import { expect, it } from 'vitest'
import { runImg } from '../src/img/main.ts'
import { runIo } from '../src/io/main.ts'
import { runProgram } from '../src/main.ts'
import { runNbd } from '../src/nbd/main.ts'
import { addObject } from '../src/objects.ts'
import { runDiskgraph } from '../src/people/main.ts'
import { capturedTerminal } from './captured-terminal.ts'

it('takes an object as JSON', async () => {
  const objects = addObject([], '{"qom-type":"secret","id":"s","data":"hunter2"}')
  await using graph = new Graph({ drivers: [] })
  for (const object of objects) await object.addTo(graph)
  expect(new TextDecoder().decode(graph.secret('s'))).toBe('hunter2')
})

it.each([
  ['{"qom-type":"secret","id":"s","data":"hunter2"', '--object: its JSON cannot be parsed'],
  ['{"qom-type":"secret","data":"hunter2"}', "Parameter 'id' is missing"],
  ['{"qom-type":"secret","id":"s","data":5}', "Invalid parameter type for 'data', expected: string"],
])('refuses %s without repeating it', (definition, message) => {
  expect(() => addObject([], definition)).toThrow(message)
})

it.each([
  ['dg-img', runImg, ['info']],
  ['dg-img', runImg, ['create']],
  ['dg-img', runImg, ['convert']],
  ['dg-io', runIo, []],
  ['dg-nbd', runNbd, []],
  ['diskgraph', runDiskgraph, ['info']],
])('%s tells of objects and does nothing else', async (name, program, words) => {
  const terminal = capturedTerminal(name)
  expect(await runProgram(program, [...words, '--object', 'secret,help'], terminal)).toBe(0)
  // The text of QEMU 7.2.
  expect(terminal.stdout).toBe(
    'secret options:\n  data=<string>\n  file=<string>\n  format=<QCryptoSecretFormat>\n  iv=<string>\n  keyid=<string>\n',
  )
  const list = capturedTerminal(name)
  expect(await runProgram(program, [...words, '--object', 'help'], list)).toBe(0)
  expect(list.stdout).toMatch(/^List of user creatable objects:\n(?: {2}(?:authz-|secret|tls-creds-).*\n)+$/)
  expect(terminal.stderr + list.stderr).toBe('')
})

it('says how to find the types, and which properties a secret has', () => {
  expect(() => addObject([], 'sekret,id=s')).toThrow(
    expect.objectContaining({ hint: "'--object help' lists the types that there are" }),
  )
  expect(() => addObject([], 'secret,id=s,fiel=x')).toThrow(
    expect.objectContaining({ hint: 'a secret has data, file, format, keyid, iv' }),
  )
})

it.each([
  ['luks', 'key-secret=s,iter-time=10', 'driver=luks,key-secret=ID,file.filename=IMAGE'],
  ['qcow2', 'encrypt.format=aes,encrypt.key-secret=s', 'driver=FORMAT,encrypt.key-secret=ID,file.filename=IMAGE'],
])('says how to give the password of a %s image', async (format, options, told) => {
  await using folder = await TempFolder.make()
  const [image, password] = [folder.file('image'), folder.file('password')]
  writeFileSync(password, 'abc')
  const secret = ['--object', `secret,id=s,file=${password}`]
  const made = ['create', '-q', '-f', format, ...secret, '-o', options, image, '64k']
  expect(await runProgram(runImg, made, capturedTerminal())).toBe(0)
  const terminal = capturedTerminal('diskgraph', { forPeople: true })
  expect(await runProgram(runDiskgraph, ['map', image], terminal)).not.toBe(0)
  expect(terminal.stderr).toContain(
    `hint: its password comes from a file: --object secret,id=ID,file=PASSWORD --image-opts ${told}; for`,
  )
})
