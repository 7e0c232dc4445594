/** The command line of `dg-nbd`: what each option asks for, judged in the order they stand in. */

import { type CacheMode, CommandError, cacheMode, readSize } from '@diskgraph/tools'
import type { Grammar } from '../command-line.ts'
import { helpOption } from '../command-line.ts'
import { addObject, type Objects } from '../objects.ts'

export const nbdGrammar: Grammar = {
  help: helpOption,
  version: { short: 'V', long: 'version', description: 'show the version' },
  port: { short: 'p', long: 'port', argument: 'PORT', description: 'TCP port to listen on (10809)' },
  bind: { short: 'b', long: 'bind', argument: 'ADDRESS', description: 'address to listen on (0.0.0.0)' },
  socket: { short: 'k', long: 'socket', argument: 'PATH', description: 'unix socket to listen on' },
  shared: { short: 'e', long: 'shared', argument: 'COUNT', description: 'clients at the same time (1); 0: no limit' },
  persistent: { short: 't', long: 'persistent', description: 'stay when the last client has left' },
  verbose: { short: 'v', long: 'verbose', description: 'go on telling messages with --fork' },
  exportName: { short: 'x', long: 'export-name', argument: 'NAME', description: 'name of the export (empty)' },
  description: {
    short: 'D',
    long: 'description',
    argument: 'TEXT',
    description: 'what clients are told of the export',
  },
  offset: { short: 'o', long: 'offset', argument: 'SIZE', description: 'where in the image the export begins' },
  allocationDepth: { short: 'A', long: 'allocation-depth', description: 'let clients see which image has the data' },
  bitmap: {
    short: 'B',
    long: 'bitmap',
    argument: 'NAME',
    description: 'let clients see a dirty bitmap; may be repeated',
  },
  list: { short: 'L', long: 'list', description: 'list the exports of another server' },
  object: { long: 'object', argument: 'DEF', description: 'define a secret, TLS credentials or an authorization' },
  tlsCreds: { long: 'tls-creds', argument: 'ID', description: 'TLS credentials of an --object' },
  tlsHostname: {
    long: 'tls-hostname',
    argument: 'NAME',
    description: 'name in the certificate of the server (with -L)',
  },
  tlsAuthz: { long: 'tls-authz', argument: 'ID', description: 'who may connect, by an --object' },
  trace: { short: 'T', long: 'trace', argument: 'SPEC', description: 'accepted, without effect' },
  fork: { long: 'fork', description: 'go to the background once clients can connect' },
  pidFile: { long: 'pid-file', argument: 'PATH', description: 'file for the number of the process' },
  handshakeLimit: {
    long: 'handshake-limit',
    argument: 'SECONDS',
    description: 'time to choose an export (10); 0: no limit',
  },
  selinuxLabel: { long: 'selinux-label', argument: 'LABEL', description: 'refused: not supported' },
  connect: { short: 'c', long: 'connect', argument: 'DEVICE', description: 'refused: needs a client in the kernel' },
  disconnect: { short: 'd', long: 'disconnect', description: 'refused: needs a client in the kernel' },
  format: { short: 'f', long: 'format', argument: 'FORMAT', description: 'format of the image' },
  readOnly: { short: 'r', long: 'read-only', description: 'export for reading only' },
  snapshot: { short: 's', long: 'snapshot', description: 'keep changes in a temporary overlay' },
  loadSnapshot: { short: 'l', long: 'load-snapshot', argument: 'SNAPSHOT', description: 'export an internal snapshot' },
  noCache: { short: 'n', long: 'nocache', description: 'past the page cache, short for --cache=none' },
  cache: { long: 'cache', argument: 'CACHE', description: 'cache mode' },
  aio: { long: 'aio', argument: 'threads|native|io_uring', description: 'how requests are made' },
  discard: { long: 'discard', argument: 'ignore|unmap', description: 'what trims do' },
  detectZeroes: { long: 'detect-zeroes', argument: 'off|on|unmap', description: 'what writes of zeroes become' },
  imageOpts: { long: 'image-opts', description: 'FILE is a list of options' },
}

const longestText = 4096

/** See the top of the file. */
export class NbdRequest {
  /** `-h` or `-V`: nothing else is done. */
  only: 'help' | 'version' | undefined
  list = false
  port: number | undefined
  bind: string | undefined
  socket: string | undefined
  shared = 1
  persistent = false
  verbose = false
  exportName: string | undefined
  description: string | undefined
  offset = 0
  offsetText = ''
  allocationDepth = false
  readonly bitmaps: string[] = []
  objects: Objects = []
  tlsCreds: string | undefined
  tlsHostname: string | undefined
  tlsAuthz: string | undefined
  fork = false
  pidFile: string | undefined
  handshakeLimit = 10
  kernelDevice = false
  format: string | undefined
  readOnly = false
  snapshot = false
  loadSnapshot: string | undefined
  cache: CacheMode | undefined
  aio: string | undefined
  discard: 'ignore' | 'unmap' | undefined
  detectZeroes: 'off' | 'on' | 'unmap' = 'off'
  imageOpts = false

  /** Takes the option that `letter`, or its long name, stands for. */
  take(letter: string, value: string): void {
    const set = setters[letter]
    if (set !== undefined) set(this, value)
  }
}

type Setter = (request: NbdRequest, value: string) => void

const setters: Readonly<Record<string, Setter>> = {
  h: (request) => {
    request.only ??= 'help'
  },
  V: (request) => {
    request.only ??= 'version'
  },
  p: (request, value) => {
    request.port = portNumber(value)
  },
  b: (request, value) => {
    request.bind = value
  },
  k: (request, value) => {
    if (!value.startsWith('/')) throw new CommandError('socket path must be absolute')
    request.socket = value
  },
  e: (request, value) => {
    if (!/^\d{1,9}$/.test(value)) throw new CommandError(`Invalid shared device number '${value}'`)
    request.shared = Number(value)
  },
  t: (request) => {
    request.persistent = true
  },
  v: (request) => {
    request.verbose = true
  },
  x: (request, value) => {
    if (Buffer.byteLength(value) > longestText) throw new CommandError(`export name '${value}' too long`)
    request.exportName = value
  },
  D: (request, value) => {
    if (Buffer.byteLength(value) > longestText) throw new CommandError(`export description '${value}' too long`)
    request.description = value
  },
  o: (request, value) => {
    const offset = readSize(value)
    if (typeof offset !== 'number') throw new CommandError(`Invalid offset '${value}'`)
    request.offset = offset
    request.offsetText = value
  },
  A: (request) => {
    request.allocationDepth = true
  },
  B: (request, value) => {
    request.bitmaps.push(value)
  },
  L: (request) => {
    request.list = true
  },
  object: (request, value) => {
    request.objects = addObject(request.objects, value)
  },
  'tls-creds': (request, value) => {
    request.tlsCreds = value
  },
  'tls-hostname': (request, value) => {
    request.tlsHostname = value
  },
  'tls-authz': (request, value) => {
    request.tlsAuthz = value
  },
  fork: (request) => {
    request.fork = true
  },
  'pid-file': (request, value) => {
    request.pidFile = value
  },
  'handshake-limit': (request, value) => {
    if (!/^\d{1,6}$/.test(value)) throw new CommandError(`Invalid handshake limit '${value}'`)
    request.handshakeLimit = Number(value)
  },
  'selinux-label': () => {
    throw new CommandError('SELinux labels are not supported: set the label with a policy of the system')
  },
  c: (request) => {
    request.kernelDevice = true
  },
  d: (request) => {
    request.kernelDevice = true
  },
  f: (request, value) => {
    request.format = value
  },
  r: (request) => {
    request.readOnly = true
  },
  s: (request) => {
    request.snapshot = true
  },
  l: (request, value) => {
    request.loadSnapshot = value
    request.readOnly = true
  },
  n: (request) => setCache(request, 'none'),
  cache: (request, value) => setCache(request, value),
  aio: (request, value) => {
    if (request.aio !== undefined) throw new CommandError('--aio can only be specified once')
    if (!['threads', 'native', 'io_uring'].includes(value)) throw new CommandError(`Invalid aio mode '${value}'`)
    request.aio = value
  },
  discard: (request, value) => {
    if (request.discard !== undefined) throw new CommandError('--discard can only be specified once')
    if (value === 'unmap' || value === 'on') request.discard = 'unmap'
    else if (value === 'ignore' || value === 'off') request.discard = 'ignore'
    else throw new CommandError(`Invalid discard mode \`${value}'`)
  },
  'detect-zeroes': (request, value) => {
    if (value !== 'off' && value !== 'on' && value !== 'unmap') {
      throw new CommandError(`Failed to parse detect_zeroes mode: invalid parameter value: ${value}`)
    }
    if (value === 'unmap' && request.discard !== 'unmap') {
      throw new CommandError('setting detect-zeroes to unmap is not allowed without setting discard operation to unmap')
    }
    request.detectZeroes = value
  },
  'image-opts': (request) => {
    request.imageOpts = true
  },
}

function setCache(request: NbdRequest, name: string): void {
  if (request.cache !== undefined) throw new CommandError('-n and --cache can only be specified once')
  const mode = cacheMode(name)
  if (mode === undefined) throw new CommandError(`Invalid cache mode \`${name}'`)
  request.cache = mode
}

function portNumber(value: string): number {
  if (/^\d{1,5}$/.test(value) && Number(value) <= 65535) return Number(value)
  throw new CommandError(`Invalid port '${value}'`, { hint: 'a port is a number from 0 to 65535' })
}
