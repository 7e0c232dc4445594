/** What a program without types may hand over, beyond what all packages check. All errors are EINVAL. */
import { BlockError } from '@diskgraph/core/driver'
import { due, hasMethod, kindOf, rule } from '@diskgraph/core/internal'

/** One side of TLS. */
export const tls = rule('one side of TLS, as TlsCredentials makes it', (value) => hasMethod(value, 'secure'))

/** Throws for what is no graph. */
export function mustBeGraph(call: string, graph: unknown): void {
  if (due.graph.check(graph)) return
  throw new BlockError('EINVAL', `${call} needs a graph, not ${kindOf(graph)}`)
}

/** Throws for what is no stream of bytes. */
export function mustBeStream(call: string, stream: unknown): void {
  if (hasMethod(stream, 'write') && hasMethod(stream, 'on') && hasMethod(stream, 'destroy')) return
  throw new BlockError('EINVAL', `${call} needs a stream of bytes, such as a socket, not ${kindOf(stream)}`)
}
