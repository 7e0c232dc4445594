/** TLS of the command line. */
import type { Graph } from '@diskgraph/core'
import type { Authorizer, TlsCredentials } from '@diskgraph/nbd'
import { CommandError } from '@diskgraph/tools'
import type { NbdRequest } from './request.ts'

/** The credentials that the request names, which are to be those of an `endpoint`. */
export function credentialsOf(
  graph: Graph,
  { tlsCreds }: NbdRequest,
  endpoint: 'server' | 'client',
): TlsCredentials | undefined {
  if (tlsCreds === undefined) return undefined
  const refuse = (reason: string): never => {
    throw new CommandError(`Failed to get TLS creds: ${reason}`)
  }
  const found = graph.objects.find('tls-creds', tlsCreds) as TlsCredentials | undefined
  if (found === undefined) return refuse(`No TLS credentials with id '${tlsCreds}'`)
  return found.settings.endpoint === endpoint ? found : refuse(`Expected TLS credentials for a ${endpoint} endpoint`)
}

/** Who may connect. */
export function authorizerOf(graph: Graph, { tlsAuthz, tlsCreds }: NbdRequest): Authorizer | undefined {
  if (tlsAuthz === undefined) return undefined
  if (tlsCreds === undefined) throw new CommandError('--tls-authz is not permitted without --tls-creds')
  return graph.objects.get('authz', tlsAuthz) as Authorizer
}
