/** Servers that do not answer. */
import { type Clock, Graph } from '@diskgraph/core'
import { systemClock } from '@diskgraph/core/driver'
import { ssh } from '@diskgraph/driver-ssh'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { SilentServer } from './silent-server.ts'

/** A clock that stands still until it is told to go on. */
class StoppedClock implements Clock {
  readonly turn = systemClock.turn
  readonly #alarms = new Map<() => void, number>()
  #now = 0

  now(): number {
    return this.#now
  }

  wallTime(): number {
    return this.#now
  }

  timeout(ms: number, wake: () => void): () => void {
    this.#alarms.set(wake, this.#now + ms)
    return () => this.#alarms.delete(wake)
  }

  interval(): () => void {
    return () => {}
  }

  goOn(ms: number): void {
    this.#now += ms
    for (const [wake, at] of [...this.#alarms]) {
      if (at > this.#now) continue
      this.#alarms.delete(wake)
      wake()
    }
  }
}

const minute = 60_000

describe('a server that does not answer', () => {
  let server: SilentServer
  const warnings: string[] = []
  beforeAll(async () => {
    server = await SilentServer.start()
  })
  beforeEach(() => {
    server.silent = 'never'
    server.onSilence = () => {}
  })
  afterAll(() => server.close())

  const graphOf = (clock: Clock): Graph =>
    new Graph({ drivers: [ssh], clock, onWarning: (message) => warnings.push(message) })

  it('and never speaks SFTP is given up', async () => {
    const clock = new StoppedClock()
    server.silent = 'of SFTP'
    server.onSilence = () => clock.goOn(minute)
    await using graph = graphOf(clock)
    await expect(graph.add(server.definition)).rejects.toMatchObject({
      code: 'ETIMEDOUT',
      message: expect.stringContaining('the server has not answered within 60 s'),
    })
  })

  it('and never speaks SFTP is left as soon as its user wants to', async () => {
    server.silent = 'of SFTP'
    await using graph = graphOf(new StoppedClock())
    const controller = new AbortController()
    server.onSilence = () => controller.abort()
    await expect(graph.add(server.definition, { signal: controller.signal })).rejects.toMatchObject({
      code: 'ECANCELED',
    })
  })

  it('to a read is lost', async () => {
    const clock = new StoppedClock()
    await using graph = graphOf(clock)
    const disk = await graph.add(server.definition)
    server.onSilence = () => clock.goOn(minute)
    server.silent = 'of reads'
    await expect(disk.read(0, new Uint8Array(512))).rejects.toMatchObject({ code: 'ETIMEDOUT' })
    server.silent = 'never'
    await expect(disk.read(0, new Uint8Array(512))).rejects.toMatchObject({ code: 'ETIMEDOUT' })
    await expect(disk.close()).rejects.toMatchObject({ code: 'ETIMEDOUT' })
  })

  it('is not what has never been asked', async () => {
    const clock = new StoppedClock()
    await using graph = graphOf(clock)
    const disk = await graph.add({ ...server.definition, readOnly: false })
    const told = warnings.length
    await disk.flush()
    expect(warnings.slice(told)).toEqual([expect.stringContaining('does not support fsync@openssh.com')])
    for (let i = 0; i < 3; i++) clock.goOn(minute)
    await disk.read(0, new Uint8Array(512))
    await disk.close()
  })
})
