/** Groups by name: objects of a graph, which drivers and devices find there. */

import { BlockError, type Clock } from '@diskgraph/core/driver'
import { ThrottleGroup, type ThrottleMember } from './group.ts'
import { limitsOfProperties } from './limits.ts'

const type = 'throttle-group'

/** Where groups live; a `Graph` is one. */
export interface ThrottleHost {
  readonly clock: Clock
  readonly objects: {
    find(type: string, id: string): unknown
    add(type: string, id: string, value: unknown): void
    delete(id: string): void
  }
}

/** Adds the group `id`, with properties of QAPI's ThrottleGroupProperties in camelCase. EINVAL if there is one. */
export function addThrottleGroup(
  { objects, clock }: ThrottleHost,
  id: string,
  properties: Readonly<Record<string, unknown>> = {},
): ThrottleGroup {
  if (objects.find(type, id) !== undefined) throw new BlockError('EINVAL', 'A group with this name already exists')
  const group = new ThrottleGroup({ clock, name: id, limits: limitsOfProperties(properties) })
  objects.add(type, id, group)
  return group
}

/** Joins the group `name`. If there is none it comes to be, and goes with its last member. */
export function joinThrottleGroup(host: ThrottleHost, name: string): ThrottleMember {
  const { objects, clock } = host
  const present = findThrottleGroup(host, name)
  if (present !== undefined) return present.join()
  const group = new ThrottleGroup({ clock, name, onEmpty: () => objects.delete(name) })
  objects.add(type, name, group)
  return group.join()
}

/** The group `name` of `host`. */
export function findThrottleGroup({ objects }: ThrottleHost, name: string): ThrottleGroup | undefined {
  return objects.find(type, name) as ThrottleGroup | undefined
}
