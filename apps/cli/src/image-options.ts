/** The options that most commands have for the image they work on. */
import { CommandError, UsageError } from '@diskgraph/tools'
import type { GivenOption } from './command-line.ts'
import { addObject, type Objects } from './objects.ts'

/** `--object`, `--image-opts`, `-f`. */
export const imageGrammar = {
  object: { long: 'object', argument: 'DEF', description: 'define a secret' },
  imageOpts: { long: 'image-opts', description: 'FILE is a list of options' },
  format: { short: 'f', argument: 'FORMAT', description: 'format of the image' },
} as const

/** `-U`, `--force-share`. */
export const shareGrammar = {
  forceShare: { short: 'U', long: 'force-share', description: 'open an image that others write to' },
} as const

/** `--output=human|json`. */
export const outputGrammar = {
  output: { long: 'output', argument: 'human|json', description: 'how to print' },
} as const

/** The values of the shared options of one command line. */
export class ImageOptions {
  objects: Objects = []
  imageOpts = false
  format: string | undefined
  forceShare = false
  json = false

  /** Takes an option that is one of the shared ones; false for others. */
  take({ name, value }: GivenOption<string>): boolean {
    if (name === 'object') this.objects = addObject(this.objects, value)
    else if (name === 'imageOpts') this.imageOpts = true
    else if (name === 'format') this.format = value
    else if (name === 'forceShare') this.forceShare = true
    else if (name === 'output') this.#output(value)
    else return false
    return true
  }

  #outputs: string | undefined

  #output(value: string): void {
    this.#outputs = value
    this.json = value === 'json'
  }

  /** The one file name of `operands`. The value of `--output` is judged after it, as QEMU does. */
  oneFilename(operands: readonly string[]): string {
    if (operands.length !== 1) throw new UsageError('Expecting one image file name')
    this.checkOutput()
    return operands[0] as string
  }

  /** @throws CommandError for an `--output` that is neither `human` nor `json`. */
  checkOutput(): void {
    if (this.#outputs === undefined || this.#outputs === 'human' || this.json) return
    throw new CommandError('--output must be used with human or json as argument.')
  }

  /** What `openImage` needs of these options. */
  get opening(): { format: string | undefined; imageOpts: boolean; forceShare: boolean } {
    return { format: this.format, imageOpts: this.imageOpts, forceShare: this.forceShare }
  }

  /** @throws CommandError when options and a format are given together. */
  checkFormat(): void {
    if (this.imageOpts && this.format !== undefined) {
      throw new CommandError('--image-opts and --format are mutually exclusive')
    }
  }
}
