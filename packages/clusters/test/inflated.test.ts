import { describe, expect, it } from 'vitest'
import { InflatedClusters } from '../src/index.ts'

const clusterSize = 2 ** 16

/** Work that is let go by hand. */
function work() {
  let signal: AbortSignal | undefined
  let begun = 0
  let end: (bytes: Uint8Array) => void = () => {}
  return {
    get begun() {
      return begun
    },
    get aborted() {
      return signal?.aborted
    },
    end: () => end(new Uint8Array(clusterSize).fill(7)),
    inflate(given: AbortSignal): Promise<Uint8Array> {
      begun++
      signal = given
      return new Promise((resolve, reject) => {
        end = resolve
        given.addEventListener('abort', () => reject(given.reason))
      })
    },
  }
}

describe('a cluster that several wait for', () => {
  it('is inflated once, and kept', async () => {
    const clusters = new InflatedClusters(clusterSize)
    const one = work()
    const both = [clusters.get(0, undefined, one.inflate), clusters.get(0, undefined, one.inflate)]
    one.end()
    for (const bytes of await Promise.all(both)) expect(bytes[0]).toBe(7)
    expect((await clusters.get(0, new AbortController().signal, one.inflate))[0]).toBe(7)
    expect(one.begun).toBe(1)
  })

  it('comes to the others when one gives up, whoever was first', async () => {
    for (const leaving of [0, 1]) {
      const clusters = new InflatedClusters(clusterSize)
      const one = work()
      const controllers = [new AbortController(), new AbortController()]
      const results = controllers.map(({ signal }) => clusters.get(0, signal, one.inflate))
      controllers[leaving]?.abort()
      await expect(results[leaving]).rejects.toMatchObject({ code: 'ECANCELED' })
      expect(one.aborted).toBe(false)
      one.end()
      expect((await results[1 - leaving])?.[0]).toBe(7)
    }
  })

  it('keeps the last who leaves until the work has ended', async () => {
    const clusters = new InflatedClusters(clusterSize)
    const controller = new AbortController()
    let end = (): void => {}
    const work = new Promise<Uint8Array>((resolve) => {
      end = () => resolve(new Uint8Array(clusterSize))
    })
    let isOver = false
    const result = clusters
      .get(0, controller.signal, () => work)
      .catch((error) => {
        isOver = true
        return error
      })
    controller.abort()
    await new Promise((resolve) => setTimeout(resolve))
    expect(isOver).toBe(false)
    end()
    expect(await result).toMatchObject({ code: 'ECANCELED' })
  })

  it('is given up when all have left, and begun anew for the next', async () => {
    const clusters = new InflatedClusters(clusterSize)
    const one = work()
    const controllers = [new AbortController(), new AbortController()]
    const results = controllers.map(({ signal }) => clusters.get(0, signal, one.inflate))
    for (const controller of controllers) controller.abort()
    for (const result of results) await expect(result).rejects.toMatchObject({ code: 'ECANCELED' })
    expect(one.aborted).toBe(true)
    const next = clusters.get(0, undefined, one.inflate)
    one.end()
    expect((await next)[0]).toBe(7)
    expect(one.begun).toBe(2)
  })

  it('is nothing for who comes with an aborted signal', async () => {
    const clusters = new InflatedClusters(clusterSize)
    const one = work()
    const staying = clusters.get(0, undefined, one.inflate)
    const late = clusters.get(0, AbortSignal.abort(), one.inflate)
    await expect(late).rejects.toMatchObject({ code: 'ECANCELED' })
    one.end()
    expect((await staying)[0]).toBe(7)
  })
})
