import { findTool, peer } from '@diskgraph/driver-testkit'
import { afterEach, describe, expect, it } from 'vitest'

function runner() {
  const ran: string[] = []
  const skipped: string[] = []
  const failed: string[] = []
  const run = (name: string, body: () => unknown): void => {
    try {
      body()
      ran.push(name)
    } catch {
      failed.push(name)
    }
  }
  const test = Object.assign(run, { skip: (name: string) => void skipped.push(name) })
  return { ran, skipped, failed, describe: test, it: test }
}

describe('a peer', () => {
  afterEach(() => {
    delete process.env.DISKGRAPH_REQUIRE_PEERS
  })

  it('lets its tests run when the program is there', () => {
    const tests = runner()
    const node = peer('sh', tests)
    node.it('works', () => undefined)
    expect(node.path).toBe(findTool('sh'))
    expect(tests.ran).toEqual(['works'])
  })

  it('skips its tests by name when the program is missing', () => {
    const tests = runner()
    peer('no-such-program', tests).it('works', () => undefined)
    expect(tests).toMatchObject({ ran: [], skipped: ['works (needs no-such-program)'] })
  })

  it('fails its tests when the program is missing and must not be', () => {
    process.env.DISKGRAPH_REQUIRE_PEERS = '1'
    const tests = runner()
    peer('no-such-program', tests).describe('a group', () => undefined)
    expect(tests).toMatchObject({ ran: [], skipped: [], failed: ['a group (needs no-such-program)'] })
  })
})
