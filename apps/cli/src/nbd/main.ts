/** `dg-nbd`: serves an image to NBD clients, or lists what another server offers. */

import type { Terminal } from '@diskgraph/tools'
import { CommandError, GetoptError, type Parsed, parseOptions } from '@diskgraph/tools'
import { getoptGrammar } from '../command-line.ts'
import { driverGrammar, enableDrivers, takeDriverOptions } from '../driver-packages.ts'
import { optionRows } from '../manual/help.ts'
import { exampleSection, section } from '../manual/layout.ts'
import type { ProgramManual } from '../manual/program.ts'
import { meaningsIn } from '../manual/words.ts'
import { withGraph } from '../opening.ts'
import { versionLine } from '../version.ts'
import { forkServer, isForked } from './fork.ts'
import { listServer } from './list.ts'
import { NbdRequest, nbdGrammar } from './request.ts'
import { serve } from './serve.ts'

/** `dg-nbd` as its help and manual page describe it. */
export const nbdProgram: ProgramManual = {
  name: 'dg-nbd',
  summary: "serves a disk image over NBD, with the command lines of QEMU's NBD server",
  usage: '[OPTIONS]... FILE',
  about: [
    "dg-nbd exports an image to NBD clients, or lists what another server exports (-L). Its command lines, messages and answers are those of QEMU's NBD server.",
    'It ends when the last client has left, unless -t is given. SIGINT, SIGTERM and SIGHUP end it in order, with exit code 0.',
  ],
  options: { ...driverGrammar, ...nbdGrammar },
  commands: {},
  examples: [
    ['-f raw -k /tmp/disk.sock disk.raw', 'serve an image to one client on a unix socket'],
    ['-t -e 10 -r -x base -f qcow2 -k /tmp/base.sock disk.qcow2', 'serve it for reading to ten clients at a time'],
  ],
  forPeople: false,
}

const getopt = getoptGrammar(nbdGrammar)

/** Runs `dg-nbd` with the words behind its name. */
export async function runNbd(words: readonly string[], terminal: Terminal): Promise<number> {
  const { rest, named } = takeDriverOptions(words)
  const parsed = parse(rest, terminal)
  if (parsed === undefined) return 1
  const request = new NbdRequest()
  for (const { letter, value } of parsed.options) {
    request.take(letter, value)
    if (request.only !== undefined) return tellOnly(request.only, terminal)
  }
  const [filename, extra] = parsed.operands
  if (request.list) {
    checkList(request, filename)
    await withGraph(terminal, request.objects, (graph) => listServer(graph, request, terminal))
    return 0
  }
  if (request.kernelDevice) {
    throw new CommandError('kernel devices are not supported: connect the client of the system to a socket (-k, -p)')
  }
  if (filename === undefined || extra !== undefined) {
    terminal.err(`${terminal.program}: Invalid number of arguments\n${tryHelp(terminal)}`)
    return 1
  }
  checkServe(request)
  if (request.fork && !isForked()) return forkServer(terminal, request.verbose)
  const enabled = await enableDrivers(named)
  await withGraph({ ...terminal, enabled }, request.objects, (graph) => serve(graph, filename, request, terminal))
  return 0
}

function checkList(request: NbdRequest, filename: string | undefined): void {
  if (filename !== undefined) throw new CommandError('List mode is incompatible with a file name')
  if (request.exportName !== undefined || request.description !== undefined || request.offset !== 0) {
    throw new CommandError('List mode is incompatible with per-device settings')
  }
  if (request.fork) throw new CommandError('List mode is incompatible with forking')
  checkTls(request)
}

function checkServe(request: NbdRequest): void {
  if (request.imageOpts && request.format !== undefined) {
    throw new CommandError('--image-opts and -f are mutually exclusive')
  }
  checkTls(request)
}

function checkTls({ tlsCreds, tlsHostname, tlsAuthz, list }: NbdRequest): void {
  if (tlsCreds === undefined && tlsHostname !== undefined) {
    throw new CommandError('--tls-hostname is not permitted without --tls-creds')
  }
  if (tlsCreds === undefined && tlsAuthz !== undefined) {
    throw new CommandError('--tls-authz is not permitted without --tls-creds')
  }
  if (list && tlsAuthz !== undefined) throw new CommandError('TLS authorization is incompatible with export list')
  if (!list && tlsHostname !== undefined) throw new CommandError('TLS hostname is only supported with export list')
}

function parse(words: readonly string[], terminal: Terminal): Parsed | undefined {
  try {
    return parseOptions(words, getopt)
  } catch (error) {
    if (!(error instanceof GetoptError)) throw error
    terminal.err(`${terminal.program}: ${error.message}\n${terminal.program}: ${tryHelp(terminal)}`)
    return undefined
  }
}

function tryHelp({ program }: Terminal): string {
  return `Try \`${program} --help' for more information.\n`
}

function tellOnly(what: 'help' | 'version', terminal: Terminal): number {
  if (what === 'version') {
    terminal.out(versionLine(terminal.program))
    return 0
  }
  const options = Object.values(nbdProgram.options)
  const words = meaningsIn(options.map(({ argument = '' }) => argument))
  terminal.out(
    [
      `Usage: ${terminal.program} [OPTIONS] FILE\n  or:  ${terminal.program} -L [OPTIONS]\n`,
      `${nbdProgram.summary}\n`,
      section('Options:', optionRows(options), terminal),
      section('Words:', words, terminal),
      exampleSection('Examples:', nbdProgram.examples ?? [], terminal),
    ].join(''),
  )
  return 0
}
