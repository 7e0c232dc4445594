/** `block-set-write-threshold`: an event when a node is first written beyond an offset. */
import { BlockError, type Node } from '@diskgraph/core'
import type { System } from '../system.ts'
import type { Handlers } from './handlers.ts'

interface Threshold {
  readonly offset: number
  remove(): void
}

const thresholds = new WeakMap<Node, Threshold>()

/** `block-set-write-threshold`. */
export function thresholdCommands(system: System): Handlers {
  return {
    'block-set-write-threshold': async ({ 'node-name': name, 'write-threshold': offset }) => {
      const { graph } = system
      const node = graph.find(name)
      if (node === undefined) throw new BlockError('ENODEV', `Device '${name}' not found`)
      await graph.drained(node, async () => setThreshold(system, node, offset))
    },
  }
}

/** The offset beyond which a write to `node` is told; 0 for none. */
export function writeThreshold(node: Node): number {
  return thresholds.get(node)?.offset ?? 0
}

/** In a drained section. Each threshold is told of once. */
function setThreshold({ graph }: System, node: Node, threshold: number): void {
  thresholds.get(node)?.remove()
  thresholds.delete(node)
  if (threshold === 0) return
  const remove = node.addWriteNotifier((offset, length, kind) => {
    const exceeded = offset + length - threshold
    if (kind === 'discard' || exceeded <= 0 || thresholds.get(node)?.remove !== remove) return
    thresholds.delete(node)
    remove()
    const data = { nodeName: node.name, amountExceeded: exceeded, writeThreshold: threshold }
    graph.emit({ event: 'BLOCK_WRITE_THRESHOLD', nodeName: node.name, data })
  })
  thresholds.set(node, { offset: threshold, remove })
}
