import { Graph } from '@diskgraph/core'
import { expect, it } from 'vitest'
import { addObject } from '../src/objects.ts'

it('takes an object as JSON', async () => {
  const objects = addObject([], '{"qom-type":"secret","id":"s","data":"hunter2"}')
  await using graph = new Graph({ drivers: [] })
  for (const object of objects) await object.addTo(graph)
  expect(new TextDecoder().decode(graph.secret('s'))).toBe('hunter2')
})

it.each([
  ['{"qom-type":"secret","id":"s","data":"hunter2"', '--object: its JSON cannot be parsed'],
  ['{"qom-type":"secret","data":"hunter2"}', "Parameter 'id' is missing"],
  ['{"qom-type":"secret","id":"s","data":5}', "Invalid parameter type for 'data', expected: string"],
])('refuses %s without repeating it', (definition, message) => {
  expect(() => addObject([], definition)).toThrow(message)
})
