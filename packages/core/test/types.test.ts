/**
 * Typed stacks. The compiler is the judge: each `@ts-expect-error` below fails the type check when the line it stands
 * over compiles. The bodies are never run; the one test keeps the file in the suite.
 */

import type { Child, Graph, OptionalChild } from '@diskgraph/core'
import { expect, test } from 'vitest'

declare module '@diskgraph/core' {
  interface BlockDrivers {
    typedLeaf: { open: { filename: string; pace?: number }; create: { filename: string; size: number } }
    typedFilter: { open: { file: Child } }
    typedOverlay: { open: { file: Child; backing?: OptionalChild }; create: { file: Child; clusterSize?: number } }
  }
}

export async function goodStacks(graph: Graph): Promise<void> {
  await graph.add({ driver: 'typedLeaf', filename: 'x', readOnly: true, cache: { direct: true } })
  await graph.add({ driver: 'typedFilter', file: { driver: 'typedLeaf', filename: 'x', nodeName: 'leaf' } })
  await graph.add({ driver: 'typedOverlay', file: 'leaf', backing: null, detectZeroes: 'unmap' })
  await graph.add({
    driver: 'typedOverlay',
    file: { driver: 'typedFilter', file: { driver: 'typedLeaf', filename: 'x' } },
    backing: { driver: 'typedOverlay', file: { driver: 'typedLeaf', filename: 'y' } },
  })
  await graph.create({ driver: 'typedOverlay', clusterSize: 512, file: { driver: 'typedLeaf', filename: 'x' } })
}

export async function badStacks(graph: Graph): Promise<void> {
  // @ts-expect-error a driver whose package is not imported
  await graph.add({ driver: 'vmdk', file: 'leaf' })
  // @ts-expect-error a required option is missing
  await graph.add({ driver: 'typedLeaf' })
  // @ts-expect-error an option of the wrong type
  await graph.add({ driver: 'typedLeaf', filename: 3 })
  // @ts-expect-error an option of another driver
  await graph.add({ driver: 'typedFilter', file: 'leaf', filename: 'x' })
  await graph.add({
    driver: 'typedFilter',
    // @ts-expect-error a mistake two levels down
    file: { driver: 'typedFilter', file: { driver: 'typedLeaf', filenam: 'x' } },
  })
  // @ts-expect-error null where a child is required
  await graph.add({ driver: 'typedFilter', file: null })
  // @ts-expect-error a value that the base option does not have
  await graph.add({ driver: 'typedLeaf', filename: 'x', detectZeroes: 'maybe' })
  // @ts-expect-error an open option among the create options
  await graph.create({ driver: 'typedOverlay', backing: null, file: 'leaf' })
}

test('typed stacks are checked by the compiler', () => {
  expect(goodStacks).toBeTypeOf('function')
  expect(badStacks).toBeTypeOf('function')
})
