import { Graph, systemClock } from '@diskgraph/core'
import {
  addThrottleGroup,
  findThrottleGroup,
  joinThrottleGroup,
  limitsOfProperties,
  noLimits,
  ThrottleGroup,
} from '@diskgraph/throttle'
import { describe, expect, it } from 'vitest'

describe('limits', () => {
  // Texts of QEMU 7.2 for the same properties.
  it.each([
    [
      { iopsTotal: 100, iopsRead: 10 },
      'bps/iops/max total values and read/write values cannot be used at the same time',
    ],
    [{ bpsTotal: 1, bpsWrite: 1 }, 'bps/iops/max total values and read/write values cannot be used at the same time'],
    [{ iopsTotalMax: 10 }, 'bps_max/iops_max require corresponding bps/iops values'],
    [{ bpsTotal: 100, bpsWriteMax: 2000 }, 'bps_max/iops_max require corresponding bps/iops values'],
    [{ iopsTotal: 100, iopsTotalMax: 10 }, 'bps_max/iops_max cannot be lower than bps/iops'],
    [{ iopsTotal: 100, iopsTotalMaxLength: 10 }, 'burst length set without burst rate'],
    [{ iopsTotal: -1 }, 'bps/iops/max values must be within [0, 1000000000000000]'],
    [{ iopsTotal: 1e15 + 1 }, 'bps/iops/max values must be within [0, 1000000000000000]'],
    [{ iopsSize: 100 }, 'iops size requires an iops value to be set'],
    [{ iopsTotal: 100, iopsTotalMax: 200, iopsTotalMaxLength: 0 }, 'the burst length cannot be 0'],
    [{ iopsTotal: 100, iopsTotalMax: 2e12, iopsTotalMaxLength: 4e9 }, 'burst length too high for this burst rate'],
  ])('%j is refused as QEMU does', (limits, message) => {
    expect(() => limitsOfProperties({ limits })).toThrow(message)
  })

  it('takes flat properties, text, and limits over them', () => {
    expect(limitsOfProperties({ xIopsTotal: '10', xIopsTotalMax: 100, limits: { iopsTotal: 20 } })).toEqual({
      ...noLimits,
      iopsTotal: 20,
      iopsTotalMax: 100,
    })
  })

  it('refuses what is no property', () => {
    expect(() => limitsOfProperties({ limits: { iops: 1 } })).toThrow("'limits.iops'")
    expect(() => limitsOfProperties({ xIops: 1 })).toThrow("'xIops'")
  })

  it('changes only what is given, and nothing after a refusal', () => {
    const group = new ThrottleGroup({ clock: systemClock, limits: { iopsTotal: 10, iopsTotalMax: 100 } })
    expect(() => group.change({ iopsTotal: 0 })).toThrow('require corresponding')
    expect(group.limits).toMatchObject({ iopsTotal: 10, iopsTotalMax: 100 })
    group.change({ iopsTotal: 20 })
    expect(group.limits).toMatchObject({ iopsTotal: 20, iopsTotalMax: 100 })
    group.set({ bpsRead: 5 })
    expect(group.limits).toEqual({ ...noLimits, bpsRead: 5 })
  })
})

describe('groups of a graph', () => {
  it('are there once for each name', () => {
    const graph = new Graph({ drivers: [] })
    const group = addThrottleGroup(graph, 'g', { limits: { iopsTotal: 5 } })
    expect(findThrottleGroup(graph, 'g')).toBe(group)
    expect(() => addThrottleGroup(graph, 'g')).toThrow('A group with this name already exists')
  })

  it('cannot be deleted while they have a member', () => {
    const graph = new Graph({ drivers: [] })
    addThrottleGroup(graph, 'g')
    const member = joinThrottleGroup(graph, 'g')
    expect(() => graph.objects.delete('g')).toThrow("object 'g' is in use, can not be deleted")
    member.leave()
    graph.objects.delete('g')
    expect(() => graph.objects.delete('g')).toThrow("object 'g' not found")
  })

  it('come with their first member where nobody added them, and go with their last', () => {
    const graph = new Graph({ drivers: [] })
    const members = [joinThrottleGroup(graph, 'disk'), joinThrottleGroup(graph, 'disk')]
    expect(members[0]?.group).toBe(members[1]?.group)
    for (const member of members) member.leave()
    expect(findThrottleGroup(graph, 'disk')).toBeUndefined()
  })
})
