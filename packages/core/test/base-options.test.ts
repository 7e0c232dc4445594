import { describe, expect, it } from 'vitest'
import { ChildTable } from '../src/graph/child-table.ts'
import type { Edge } from '../src/graph/edge.ts'
import type { Node } from '../src/graph/node.ts'
import { validateAmend } from '../src/internal.ts'
import { baseOptions, checkBase, resolveBase, topBase } from '../src/options/base-options.ts'
import { childSchema, listOf, namedChildren, nextChildName, requireChildren } from '../src/options/child-options.ts'
import { FakeDrivers } from './fake-drivers.ts'

describe('base options', () => {
  it('are taken over from above, but for zero detection, and a child that says that it is writable must be', () => {
    const above = { ...topBase, readOnly: true, discard: 'unmap', detectZeroes: 'on', forceShare: true } as const
    const cache = { direct: true, noFlush: true }
    expect(resolveBase({}, { ...above, cache })).toEqual({ ...above, detectZeroes: 'off', cache })
    expect(resolveBase({ readOnly: false }, topBase).autoReadOnly).toBe(false)
    expect(resolveBase({ readOnly: false, autoReadOnly: true }, topBase).autoReadOnly).toBe(true)
    expect(resolveBase({}, { ...topBase, autoReadOnly: false }).autoReadOnly).toBe(false)
    expect(resolveBase({ cache: { direct: true } }, topBase).cache).toEqual({ direct: true, noFlush: false })
    expect(resolveBase({ cache: { noFlush: true } }, topBase).cache).toEqual({ direct: false, noFlush: true })
    expect(resolveBase({ forceShare: true, detectZeroes: 'unmap' }, topBase)).toMatchObject({
      forceShare: true,
      detectZeroes: 'unmap',
    })
  })

  it('know two words for each way of discards', () => {
    const words = ['on', 'unmap', 'off', 'ignore'].map((discard) => resolveBase({ discard }, topBase).discard)
    expect(words).toEqual(['unmap', 'unmap', 'ignore', 'ignore'])
    const above = { ...topBase, discard: 'unmap' as const }
    expect(resolveBase({ discard: 'off' }, above).discard).toBe('ignore')
  })

  it('unmap zeroes only where discards reach the storage', () => {
    const message = 'setting detect-zeroes to unmap is not allowed without setting discard operation to unmap'
    const bad = { ...topBase, detectZeroes: 'unmap' as const }
    expect(() => checkBase(bad)).toThrow(expect.objectContaining({ code: 'EINVAL', message }))
    checkBase({ ...bad, discard: 'unmap' })
    checkBase({ ...topBase, detectZeroes: 'on' })
  })

  it('may be changed later where that is safe', () => {
    const names = Object.entries(baseOptions).filter(([, schema]) => schema.reopen === true)
    expect(names.map(([name]) => name)).toEqual(['readOnly', 'autoReadOnly', 'discard', 'detectZeroes', 'cache'])
  })
})

describe('options that are children', () => {
  const { overlay, many } = new FakeDrivers()

  it('are named one by one, and null or nothing is none', () => {
    const named = (given: object) => [
      ...namedChildren({ ...overlay.options, ...many.options }, { children: [1], ...given }),
    ]
    expect(named({ file: 'a', backing: null })).toEqual([
      { name: 'file', role: 'storage', value: 'a' },
      { name: 'children.0', role: 'replica', value: 1 },
    ])
    expect(named({ backing: '', children: ['x', 'y'] })).toEqual([
      { name: 'children.0', role: 'replica', value: 'x' },
      { name: 'children.1', role: 'replica', value: 'y' },
    ])
  })

  it('of a list are a list, of a length', () => {
    const named = (children: unknown) => [...namedChildren(many.options, { children })]
    expect(() => named('a')).toThrow("Parameter 'children' expects a list of nodes")
    expect(() => named(undefined)).toThrow('Number of provided children must be 1 or more')
    const free = { type: 'children', role: 'replica', description: 'any number' } as const
    expect([...namedChildren({ children: free }, {})]).toEqual([])
  })

  it('that are needed are asked for', () => {
    for (const file of [undefined, null, '']) {
      expect(() => requireChildren(overlay.options, { file })).toThrow(
        expect.objectContaining({ code: 'EINVAL', message: 'A block device must be specified for "file"' }),
      )
    }
    requireChildren(overlay.options, { file: 'a' })
    requireChildren(many.options, {})
  })

  it('have names, and those of a list an index', () => {
    expect([listOf('children.12'), listOf('file'), listOf('a.1.b')]).toEqual(['children', 'file', 'a.1.b'])
    expect(childSchema(overlay, 'backing')).toBe(overlay.options.backing)
    expect(childSchema(many, 'children.3')).toBe(many.options.children)
    for (const wrong of ['children', 'spare.1', 'constructor', 'nothing']) {
      const message = `driver 'many' has no child '${wrong}'`
      expect(() => childSchema(many, wrong)).toThrow(expect.objectContaining({ code: 'EINVAL', message }))
    }
    const parent = (...names: string[]) =>
      ({ driver: many, children: new Map(names.map((name) => [name, {} as Edge])) }) as unknown as Node
    expect(nextChildName(parent('children.2', 'children.10', 'spare', 'childrens.77'), 'children')).toBe('children.11')
    expect(nextChildName(parent(), 'children')).toBe('children.0')
    expect(() => nextChildName(parent(), 'spare')).toThrow("driver 'many' has no list of children 'spare'")
  })

  it('are seen as they are now', () => {
    const edges = new Map(['file', 'list.0', 'list.1', 'listed.0'].map((name) => [name, { name } as Edge]))
    const table = new ChildTable(edges)
    expect(table.list('list')).toEqual([{ name: 'list.0' }, { name: 'list.1' }])
    expect([table.get('file'), table.get('x')]).toEqual([{ name: 'file' }, undefined])
    expect(table.require('file')).toBe(edges.get('file'))
    expect(() => table.require('x')).toThrow('A block device must be specified for "x"')
    edges.delete('list.0')
    expect(table.list('list')).toHaveLength(1)
  })
})

describe('options of an amendment', () => {
  it('are checked, none is needed, and none is filled in', () => {
    const schemas = {
      size: { type: 'integer', required: true, description: 'bytes' },
      mark: { type: 'integer', default: 5, description: 'a number' },
    } as const
    expect(validateAmend(schemas, {})).toEqual({})
    expect(validateAmend(schemas, { mark: '7' })).toEqual({ mark: 7 })
    expect(() => validateAmend(schemas, { other: 1 })).toThrow('other')
  })
})
