/**
 * Typed stacks. The compiler is the judge: each `@ts-expect-error` below fails the type check when the line it stands
 * over compiles. The bodies are never run; the one test keeps the file in the suite.
 */

import type { Child, Graph, OptionalChild } from '@diskgraph/core'
import { defineDriver, type OpenImage } from '@diskgraph/core/driver'
import { expect, test } from 'vitest'

declare module '@diskgraph/core/driver' {
  interface BlockDrivers {
    typedLeaf: { open: { filename: string; pace?: number }; create: { filename: string; size: number } }
    typedFilter: { open: { file: Child; speed?: number } }
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
  await graph.insertFilter('leaf', { driver: 'typedFilter', speed: 1, nodeName: 'filter' })
  await graph.change(async (change) => {
    const node = await change.open({ driver: 'typedOverlay', file: 'leaf', backing: null })
    await change.insert(await change.open(node), { driver: 'typedFilter' })
    await change.setChild(node, 'backing', { driver: 'typedLeaf', filename: 'x' })
    await change.addChild('list', 'children', { driver: 'typedLeaf', filename: 'x' })
  })
}

export async function badStacks(graph: Graph): Promise<void> {
  // @ts-expect-error a driver whose package is not imported
  await graph.add({ driver: 'no-such-format', file: 'leaf' })
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
  // @ts-expect-error an option of the wrong type, of a filter that is put over a node
  await graph.insertFilter('leaf', { driver: 'typedFilter', speed: 'high' })
  await graph.change(async (change) => {
    // @ts-expect-error a required option is missing
    await change.open({ driver: 'typedLeaf' })
    // @ts-expect-error an option that the filter does not have
    await change.insert('leaf', { driver: 'typedFilter', sped: 1 })
    // @ts-expect-error a definition of a child with an option of the wrong type
    await change.addChild('list', 'children', { driver: 'typedLeaf', filename: 3 })
  })
  // @ts-expect-error an open option among the create options
  await graph.create({ driver: 'typedOverlay', backing: null, file: 'leaf' })
}

interface DefinedOptions {
  file: Child
  mode?: 'fast' | 'safe'
  size?: number
}

const file = { type: 'child', role: 'storage', required: true, description: 'storage' } as const
const mode = { type: 'enum', values: ['fast', 'safe'], description: 'mode' } as const
const size = { type: 'integer', description: 'size' } as const
const rest = {
  name: 'defined',
  kind: 'format',
  description: 'defined',
  open: () => Promise.resolve({} as OpenImage),
} as const

export function definitions(): void {
  const define = defineDriver<DefinedOptions>()
  define({ ...rest, options: { file, mode, size } })
  // @ts-expect-error an option of the interface has no schema
  define({ ...rest, options: { file, mode } })
  // @ts-expect-error a schema that the interface does not know
  define({ ...rest, options: { file, mode, size, colour: size } })
  // @ts-expect-error required in the interface, and not in the schema
  define({ ...rest, options: { file: { ...file, required: false }, mode, size } })
  // @ts-expect-error required in the schema, and not in the interface
  define({ ...rest, options: { file, mode, size: { ...size, required: true } } })
  // @ts-expect-error a value that the interface does not have
  define({ ...rest, options: { file, mode: { ...mode, values: ['fast', 'slow'] }, size } })
  // @ts-expect-error text where the interface has a number
  define({ ...rest, options: { file, mode, size: { type: 'string', description: 'size' } } })
  // @ts-expect-error create options without an interface
  define({ ...rest, options: { file, mode, size }, createOptions: { size } })
}

test('option interfaces and schemas are held together by the compiler', () => {
  expect(definitions).toBeTypeOf('function')
})

test('typed stacks are checked by the compiler', () => {
  expect(goodStacks).toBeTypeOf('function')
  expect(badStacks).toBeTypeOf('function')
})
