import { Graph } from '@diskgraph/core'
import { MemoryFiles, mutationTest, type PagedFile } from '@diskgraph/driver-testkit'
import { afterEach, describe, expect, it } from 'vitest'
import { type Mistake, toyFormat } from './toy-format.ts'

async function toyImage(): Promise<PagedFile> {
  const files = new MemoryFiles()
  await using graph = new Graph({ drivers: [toyFormat(), files.driver] })
  const storage = { driver: 'testkit-file', name: 'image' }
  await graph.createUnchecked({ driver: 'toy', size: 2 ** 18, file: storage })
  const disk = await graph.addUnchecked({ driver: 'toy', file: storage })
  await disk.write(1000, new Uint8Array(20_000).fill(5))
  return files.file('image')
}

async function run(mistake: Mistake, cases: number) {
  process.env.TOY_MISTAKE = mistake
  const child = new URL('./toy-child.ts', import.meta.url)
  const images = [await toyImage()]
  return mutationTest({
    child,
    execArgv: ['--import', 'tsx'],
    images,
    seed: 3,
    cases,
    casesPerChild: 200,
    silence: 1500,
  })
}

describe('the mutation test', () => {
  afterEach(() => {
    delete process.env.TOY_MISTAKE
  })

  it('passes a driver that doubts what it reads', async () => {
    const report = await run('none', 400)
    expect(report.findings).toEqual([])
    expect(report.cases).toBe(400)
  })

  it('finds errors that are not BlockErrors', async () => {
    const report = await run('trusts-header', 40)
    expect(report.uncaught + report.crashes).toBeGreaterThan(0)
  })

  it('ends a driver that loops, and goes on behind that case', async () => {
    const report = await run('hangs', 5)
    expect(report.hangs).toBeGreaterThan(0)
    expect(report.cases).toBe(5)
  })
})
