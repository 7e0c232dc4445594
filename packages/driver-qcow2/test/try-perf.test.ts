import { it } from 'vitest'
import { newGraph } from './images.ts'

it('perf', async () => {
  for (let i = 0; i < 4; i++) {
    await using graph = newGraph()
    const d = await graph.addUnchecked(
      { driver: 'qcow2', readOnly: true, file: { driver: 'file', filename: process.env.IMG, locking: 'off' } },
      { check: true } as never,
    )
    const t = performance.now()
    const r = await d.check({ repair: 'none' })
    console.log(performance.now() - t, JSON.stringify(r), process.memoryUsage().rss / 1e6)
    await d.close()
  }
}, 120000)
