/** The child process of a mutation test: runs one case after the other, and says so before each. */

import type { PagedFile } from '../paged-file.ts'
import { Random } from '../random.ts'
import { loadFile } from '../tools.node.ts'
import { type Field, type FieldList, mutate } from './mutations.ts'
import { type MutationDrivers, useMutated } from './verbs.ts'

/** What the parent asks of a child. */
export interface MutationOrder {
  readonly seed: number
  /** Files with intact images. */
  readonly images: readonly string[]
  readonly from: number
  readonly to: number
}

/** What a child tells its parent. */
export type MutationMessage =
  | { readonly kind: 'case'; readonly index: number; readonly what: string }
  | { readonly kind: 'fault'; readonly index: number; readonly what: string; readonly text: string }
  | {
      readonly kind: 'slow'
      readonly index: number
      readonly what: string
      readonly verb: string
      readonly milliseconds: number
    }
  | { readonly kind: 'memory'; readonly growth: number; readonly index: number }

/** Milliseconds that one verb may take. */
const slowest = 2000

/** Makes the mutated image number `index` of a seed: the file and a description. */
export function mutatedImage(
  seed: number,
  index: number,
  images: readonly { readonly file: PagedFile; readonly fields: readonly Field[] }[],
): { readonly file: PagedFile; readonly what: string; readonly random: Random } {
  const random = new Random(seed * 2 ** 21 + index)
  const number = random.below(images.length)
  const image = images[number] as (typeof images)[number]
  const file = image.file.clone()
  return { file, what: `image ${number}: ${mutate(file, image.fields, random)}`, random }
}

/**
 * Serves the orders of a parent process: a module that does nothing but call this is the `child` of a
 * mutation test.
 */
export function serveMutations(drivers: MutationDrivers, fieldList: FieldList): void {
  let now = { index: -1, what: 'start' }
  const send = (message: MutationMessage): void => void process.send?.(message)
  const crash = (kind: string) => (error: unknown) => {
    const text = `${kind}: ${(error as Error).stack ?? String(error)}`
    process.send?.({ kind: 'fault', ...now, text } satisfies MutationMessage, () => process.exit(1))
  }
  process.on('uncaughtException', crash('uncaught exception'))
  process.on('unhandledRejection', crash('unhandled rejection'))
  process.on('message', async ({ seed, images: paths, from, to }: MutationOrder) => {
    const images = paths.map((path) => {
      const file = loadFile(path)
      return { file, fields: fieldList(file.bytes()) }
    })
    let base = 0
    let highest = 0
    for (let index = from; index < to; index++) {
      const { file, what, random } = mutatedImage(seed, index, images)
      now = { index, what }
      send({ kind: 'case', ...now })
      const { faults, slowest: verb, milliseconds } = await useMutated(drivers, file, random)
      for (const text of faults) send({ kind: 'fault', ...now, text })
      if (milliseconds > slowest) send({ kind: 'slow', ...now, verb, milliseconds })
      const resident = process.resourceUsage().maxRSS * 1024
      if (index < from + 10) base = resident
      else if (resident - base > highest) {
        highest = resident - base
        send({ kind: 'memory', growth: highest, index })
      }
      // Lets messages out, and pending rejections be seen, between two cases.
      await new Promise((resolve) => setImmediate(resolve))
    }
    process.disconnect()
  })
}
