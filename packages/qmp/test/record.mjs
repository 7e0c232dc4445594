/*
 * `node packages/qmp/test/record.mjs FILE`: sends the lines of FILE (`recorded/*.json`: a list of { send, answers }) to the
 * installed qemu-storage-daemon, or to the `program` that the file names, and writes down what it answers. `setup` of the
 * file makes the images that they speak of.
 */
import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

const file = resolve(process.argv[2])
const recording = JSON.parse(readFileSync(file, 'utf8'))
const folder = mkdtempSync(join(tmpdir(), 'record-'))
for (const [program, ...words] of recording.setup ?? []) execFileSync(program, words, { cwd: folder })
const daemonWords = ['qemu-storage-daemon', '--chardev', 'stdio,id=c', '--monitor', 'chardev=c']
const [program, ...programWords] = recording.program ?? daemonWords
const daemon = spawn(program, programWords, { cwd: folder })
let output = ''
let hasEnded = false
daemon.on('exit', () => {
  hasEnded = true
})
daemon.stdout.on('data', (chunk) => {
  output += chunk
})
/** Waits for an answer, and then until nothing more comes. */
const quiet = async () => {
  let last
  do {
    last = output
    await new Promise((wake) => setTimeout(wake, 150))
  } while (last !== output || (output === '' && !hasEnded))
}
await quiet()
output = ''
for (const exchange of recording.exchanges) {
  daemon.stdin.write(`${exchange.send}\n`)
  await quiet()
  // What tools print about new images stands between the answers.
  exchange.answers = output
    .split(/\r?\n/)
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line))
  output = ''
}
daemon.stdin.end()
daemon.kill()
rmSync(folder, { recursive: true })
writeFileSync(file, `${JSON.stringify(recording, null, 1)}\n`)
