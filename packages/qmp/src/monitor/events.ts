/** What happens in a graph, as QMP tells it. */
import type { BlockEvent } from '@diskgraph/core'
import { toQapi } from '@diskgraph/core/internal'
import type { Schema } from '@diskgraph/qapi'

/** The data of an event in QAPI's names; undefined where it has none. */
export function eventData(schema: Schema, { event, nodeName, data }: BlockEvent): unknown {
  const given = toQapi(data) as Record<string, unknown>
  const members = schema.event(event)
  if (members === undefined) return Object.keys(given).length === 0 ? undefined : given
  const isMember = (name: string): boolean => name in members || `*${name}` in members
  // Nodes know their name only, and no device.
  if (nodeName !== undefined && isMember('node-name')) given['node-name'] ??= nodeName
  if ('device' in members) given.device ??= ''
  const known = Object.entries(given).filter(([name, value]) => value !== undefined && isMember(name))
  return Object.keys(members).length === 0 ? undefined : Object.fromEntries(known)
}

/** The time of an event, which came `milliseconds` after the epoch. */
export function timestamp(milliseconds: number): { readonly seconds: number; readonly microseconds: number } {
  const seconds = Math.floor(milliseconds / 1000)
  return { seconds, microseconds: Math.floor((milliseconds - seconds * 1000) * 1000) }
}
