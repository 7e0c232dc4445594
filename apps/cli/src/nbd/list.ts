/** `-L`: what another server offers. */
import type { Graph } from '@diskgraph/core'
import type { ListedExport, TlsCredentials } from '@diskgraph/nbd'
import type { Terminal } from '@diskgraph/tools'
import { listenAddress } from './address.ts'
import { credentialsOf } from './credentials.ts'
import type { NbdRequest } from './request.ts'

/** Prints the exports of the server that the request names. */
export async function listServer(graph: Graph, request: NbdRequest, terminal: Terminal): Promise<void> {
  const { connectSocket, listExports } = await import('@diskgraph/nbd')
  const address = listenAddress(request)
  const credentials: TlsCredentials | undefined = credentialsOf(graph, request, 'client')
  const hostname = request.tlsHostname ?? request.bind
  const tls = credentials?.client(hostname)
  const exports = await listExports(await connectSocket(address, terminal.signal), {
    signal: terminal.signal,
    ...(tls === undefined ? {} : { tls }),
  })
  terminal.out(`exports available: ${exports.length}\n${exports.map(describe).join('')}`)
}

/** The flags by name, from bit 1 on; those without a name are reserved. */
const flagNames = [
  'readonly',
  'flush',
  'fua',
  'rotational',
  'trim',
  'zeroes',
  'df',
  'multi',
  'resize',
  'cache',
  'fast-zero',
]

function describe(one: ListedExport): string {
  const { name, description, size, flags, minimumBlock, preferredBlock, statedMaximum, contexts } = one
  const lines = [` export: '${name}'`]
  if (description) lines.push(`  description: ${description}`)
  if (flags !== 0) {
    const set = flagNames.filter((_, bit) => (flags & (2 << bit)) !== 0)
    lines.push(`  size:  ${size}`, `  flags: 0x${flags.toString(16)} (${set.map((flag) => ` ${flag}`).join('')} )`)
  }
  if (statedMaximum !== undefined) {
    lines.push(`  min block: ${minimumBlock}`, `  opt block: ${preferredBlock}`, `  max block: ${statedMaximum}`)
  }
  if (contexts.length > 0) {
    lines.push(`  available meta contexts: ${contexts.length}`, ...contexts.map((context) => `   ${context}`))
  }
  return `${lines.join('\n')}\n`
}
