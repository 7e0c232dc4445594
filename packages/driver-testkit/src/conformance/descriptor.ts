import { type OptionSchemas, validateOptions } from '@diskgraph/core/driver'
import { must, mustReject } from '../assertions.ts'
import type { Case } from './fixture.ts'

function checkSchemas(schemas: OptionSchemas, what: string): void {
  for (const [name, schema] of Object.entries(schemas)) {
    must(/^[a-z][A-Za-z0-9]*$/.test(name), `${what} '${name}' is not in camelCase`)
    must(schema.description.length > 0, `${what} '${name}' has no description`)
    if ('default' in schema && schema.default !== undefined) {
      validateOptions({ [name]: { ...schema, required: false } }, { [name]: schema.default })
    }
    if (schema.type === 'object') checkSchemas(schema.properties, `${what} of '${name}'`)
    if (schema.type !== 'union') continue
    for (const variant of Object.values(schema.variants)) checkSchemas(variant, `${what} of '${name}'`)
  }
}

/** What a descriptor promises, and opening and creating. */
export const descriptorCases: readonly Case[] = [
  {
    name: 'describes itself and each of its options',
    run: async ({ settings: { driver } }) => {
      must(/^[a-z][a-z0-9_-]*$/.test(driver.name), `the name '${driver.name}' is not one of QAPI`)
      must(driver.description.length > 0, 'the driver has no description')
      checkSchemas(driver.options, 'the option')
      checkSchemas(driver.createOptions ?? {}, 'the create option')
      must((driver.create === undefined) === (driver.createOptions === undefined), 'create and createOptions differ')
    },
  },
  {
    name: 'says of its images what they can do',
    run: async (fixture) => {
      const { imageMethods } = fixture.settings.driver
      if (imageMethods === undefined) return
      const listed = [
        'write',
        'writeZeroes',
        'discard',
        'truncate',
        'blockStatus',
        'check',
        'snapshots',
        'amend',
      ] as const
      const disk = await fixture.open()
      for (const name of listed) {
        const has = disk.node.image[name] !== undefined
        must(
          has === imageMethods.includes(name),
          `its images ${has ? 'have' : 'lack'} '${name}', unlike its imageMethods`,
        )
      }
      await disk.close()
    },
  },
  {
    name: 'opens and closes, several times, and leaves nothing behind',
    run: async (fixture) => {
      for (let i = 0; i < 3; i++) {
        const disk = await fixture.open()
        must(Number.isSafeInteger(disk.size) && disk.size >= 0, `the size is ${disk.size}`)
        await disk.close()
        must([...fixture.graph.nodes].length === 0, 'nodes are left in the graph')
      }
    },
  },
  {
    name: 'opens nothing for a caller who has gone',
    run: async (fixture) => {
      const settings = { signal: AbortSignal.abort() }
      await mustReject(fixture.graph.addUnchecked(fixture.subject.definition, settings), 'open after abort', [
        'ECANCELED',
      ])
      must([...fixture.graph.nodes].length === 0, 'nodes are left in the graph')
    },
  },
  {
    name: 'claims nothing that is not its own when it probes',
    run: async (fixture) => {
      const { driver } = fixture.settings
      if (driver.probe === undefined) return
      for (const head of [
        new Uint8Array(0),
        new Uint8Array(2048),
        fixture.random.bytes(2048),
        fixture.random.bytes(3),
      ]) {
        const score = driver.probe(head, 'disk')
        must(score >= 0 && score <= 1, `probing ${head.length} bytes that are not an image gives ${score}`)
      }
    },
  },
  {
    name: 'recognises an image that it has created',
    needs: ['create', 'file', 'probe'],
    run: async (fixture) => {
      const head = new Uint8Array(2048)
      fixture.files.file('image').read(0, head)
      const score = fixture.settings.driver.probe?.(head, 'image') ?? 0
      must(score >= 1 && score <= 100, `probing its own image gives ${score}`)
    },
  },
  {
    name: 'measures no less than a full image takes',
    needs: ['create', 'file', 'measure', 'write'],
    run: async (fixture) => {
      const { driver, createOptions = {} } = fixture.settings
      const options = validateOptions(
        { ...driver.createOptions, file: { type: 'child', role: 'storage', description: '-' } },
        {
          size: fixture.size,
          ...createOptions,
        },
      )
      const measured = await driver.measure?.({ options, size: fixture.size })
      const disk = await fixture.open()
      await disk.write(0, new Uint8Array(disk.size).fill(1))
      await disk.close()
      const taken = fixture.files.file('image').size
      must(measured !== undefined && measured.required <= measured.fullyAllocated, 'required is above fullyAllocated')
      must(taken <= measured.fullyAllocated, `a full image takes ${taken}, measured were ${measured.fullyAllocated}`)
    },
  },
]
