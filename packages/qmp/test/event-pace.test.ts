import type { BlockEvent, Clock } from '@diskgraph/core'
import { expect, it } from 'vitest'
import { EventPace } from '../src/monitor/event-pace.ts'

it('a flood of one kind is told once a second, its last event at the end; other events are told at once', () => {
  const wakes: (() => void)[] = []
  const told: string[] = []
  const clock = { timeout: (_ms: number, wake: () => void) => wakes.push(wake) } as unknown as Clock
  const pace = new EventPace(clock, ({ event, data }) => told.push(`${event} ${data.nodeName} ${data.at}`))
  const bad = (nodeName: string, at: number): BlockEvent => ({ event: 'QUORUM_REPORT_BAD', data: { nodeName, at } })
  for (const at of [1, 2, 3]) pace.take(bad('a', at))
  pace.take(bad('b', 4))
  pace.take({ event: 'STOP', data: { nodeName: 'a', at: 5 } })
  expect(told.splice(0)).toEqual(['QUORUM_REPORT_BAD a 1', 'QUORUM_REPORT_BAD b 4', 'STOP a 5'])
  wakes.shift()?.()
  expect(told.splice(0)).toEqual(['QUORUM_REPORT_BAD a 3'])
  for (const wake of wakes.splice(0)) wake()
  pace.take(bad('a', 6))
  expect(told).toEqual(['QUORUM_REPORT_BAD a 6'])
})
