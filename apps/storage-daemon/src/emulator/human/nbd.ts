/** Commands for the NBD server. */
import { BlockError } from '@diskgraph/core'
import type { TypeOf } from '@diskgraph/qapi'
import { forwarded, type HumanCommand } from './system.ts'

/** `nbd_server_start`, `nbd_server_add`, `nbd_server_remove`, `nbd_server_stop`. */
export const nbdCommands: Readonly<Record<string, HumanCommand>> = {
  nbd_server_start: {
    usage: '[-a] [-w] host:port',
    summary: 'serve by NBD; -a: all devices, -w: writable',
    flags: 'aw',
    takes: 's',
    run: async ({ monitor }, { words: [uri = ''], flags }) => {
      const writable = flags.has('w')
      if (writable && !flags.has('a')) throw new BlockError('EINVAL', '-w only valid together with -a')
      await monitor.execute('nbd-server-start', { addr: addressOf(uri) })
      if (!flags.has('a')) return
      try {
        for (const { device, inserted } of (await monitor.execute('query-block', {})) as TypeOf<'BlockInfo'>[]) {
          if (inserted !== undefined) await monitor.execute('nbd-server-add', { device, writable })
        }
      } catch (error) {
        await monitor.execute('nbd-server-stop', {})
        throw error
      }
    },
  },
  nbd_server_add: forwarded(
    { usage: '[-w] device [name]', summary: 'export a device; -w: writable', flags: 'w', takes: 'B s?' },
    'nbd-server-add',
    ({ words: [device, name], flags }) => ({ device, name, writable: flags.has('w') }),
  ),
  nbd_server_remove: forwarded(
    { usage: '[-f] name', summary: 'remove an export; -f: also while clients use it', flags: 'f', takes: 's' },
    'nbd-server-remove',
    ({ words: [name], flags }) => ({ name, mode: flags.has('f') ? 'hard' : undefined }),
  ),
  nbd_server_stop: forwarded({ usage: '', summary: 'stop serving', takes: '' }, 'nbd-server-stop', () => ({})),
}

function addressOf(uri: string): object {
  const [, path] = /^unix:(.+)$/.exec(uri) ?? []
  if (path !== undefined) return { type: 'unix', data: { path } }
  const [, host, port] = /^(?:(?:tcp|inet):)?(\[[^\]]*\]|[^:]*):(\d+)$/.exec(uri) ?? []
  if (host === undefined) throw new BlockError('EINVAL', `error parsing address '${uri}'`)
  return { type: 'inet', data: { host: host.replace(/^\[(.*)\]$/, '$1'), port } }
}
