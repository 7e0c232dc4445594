import { type DriverDescriptor, Graph } from '@diskgraph/core'
import type { OpenContext, OpenImage } from '@diskgraph/core/driver'
import { mustShowExample } from '@diskgraph/driver-testkit'
import { checkReading, openRemote, readingOptions, type Sink } from '@diskgraph/remote'
import { expect, it } from 'vitest'

class Greeting {
  readonly size = 5
  async start(): Promise<Uint8Array> {
    return new TextEncoder().encode('hello')
  }
  async transfer(start: number, end: number, sink: Sink): Promise<void> {
    sink(start, new TextEncoder().encode('hello').subarray(start, end))
  }
  close(): void {}
}

export function open(context: OpenContext): Promise<OpenImage> {
  return openRemote('greeting://', new Greeting(), checkReading(context), context.signal)
}

it('does what the README shows', async () => {
  mustShowExample(import.meta.url)
  const greeting: DriverDescriptor = {
    name: 'greeting',
    kind: 'protocol',
    description: 'says hello',
    options: readingOptions,
    open,
  }
  await using graph = new Graph({ drivers: [greeting] })
  const disk = await graph.addUnchecked({ driver: 'greeting', readOnly: true })
  const buf = new Uint8Array(5)
  await disk.read(0, buf)
  expect(new TextDecoder().decode(buf)).toBe('hello')
})
