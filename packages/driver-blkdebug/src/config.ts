import { BlockError } from '@diskgraph/core/driver'

/** One section of a configuration file: its values as text, by name. */
type Section = Readonly<Record<string, string>>

/** The sections of a configuration file, in order. */
interface Config {
  readonly injectError: readonly Section[]
  readonly setState: readonly Section[]
}

const header = /^\[([^\s"\]]+)(?:\s+"([^"]*)")?\s*\]/
const entry = /^([^\s="]+)\s*=\s*"([^"]*)"/

/**
 * Parses QEMU's ini form: sections `[inject-error]` and `[set-state]`, optionally with an id (`[set-state "a"]`),
 * lines `name = "value"`, comments from a `#` at the start of a line. What follows a value on its line is ignored.
 * Reads each line once. Values are not checked here.
 * @throws BlockError EINVAL, with the number of the line.
 */
export function parseConfig(text: string): Config {
  const sections: Record<string, Section[]> = { 'inject-error': [], 'set-state': [] }
  const ids = new Set<string>()
  let section: Record<string, string> | undefined
  for (const [index, untrimmed] of text.split('\n').entries()) {
    const line = untrimmed.trim()
    if (line === '' || line.startsWith('#')) continue
    const [, group, id] = header.exec(line) ?? []
    if (group !== undefined) {
      const list = Object.hasOwn(sections, group) ? sections[group] : undefined
      if (list === undefined) throw malformed(index, `There is no option group '${group}'`)
      if (id !== undefined && ids.has(`${group} ${id}`)) throw malformed(index, `Duplicate ID '${id}' for ${group}`)
      if (id !== undefined) ids.add(`${group} ${id}`)
      section = Object.create(null) as Record<string, string>
      list.push(section)
      continue
    }
    const [, name, value] = entry.exec(line) ?? []
    if (name === undefined) throw malformed(index, `expected [section] or name = "value"`)
    if (section === undefined) throw malformed(index, 'no group defined')
    section[name] = value as string
  }
  return { injectError: sections['inject-error'] as Section[], setState: sections['set-state'] as Section[] }
}

function malformed(index: number, reason: string): BlockError {
  return new BlockError('EINVAL', `blkdebug config file, line ${index + 1}: ${reason}`)
}
