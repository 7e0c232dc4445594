/**
 * Names of the host as names of FAT. A long name may have any characters but a few, and differs from its siblings by
 * more than upper and lower case; beside it stands an alias of eight and three characters. Source: Microsoft's
 * "FAT: General Overview of On-Disk Format", version 1.03, and "Long File Name Specification".
 */

/** A name in a directory. */
export interface FatName {
  readonly long: string
  /** Eight bytes and three, without the dot. */
  readonly alias: Uint8Array
  /** The alias says all there is to say. */
  readonly isShort: boolean
}

const longest = 255
// Control characters are what must not be in a name.
// biome-ignore lint/suspicious/noControlCharactersInRegex: see above
const refused = /[\u0000-\u001f\u007f"*/:<>?\\|]/g
const shortCharacters = /^[A-Z0-9!#$%&'()@^_`{}~-]*$/

/** The names of one directory: hands out such as are not taken. */
export class NameTable {
  readonly #long = new Set<string>()
  readonly #aliases = new Set<string>()
  /** Where the search for a number goes on, so that ten thousand names of one beginning cost no more than others. */
  readonly #next = new Map<string, number>()

  /** The name of FAT for `name`: itself, or the most similar one that is permitted and free. */
  add(name: string): FatName {
    const long = this.#unusedLong(name)
    const alias = this.#alias(long)
    return { long, alias: bytesOf(alias), isShort: plain(alias) === long }
  }

  #unusedLong(name: string): string {
    const permitted = cut(
      name.replace(refused, '_').replace(/[. ]+$/, (end) => '_'.repeat(end.length)),
      longest,
    )
    const dot = permitted.lastIndexOf('.')
    const [stem, extension] = dot > 0 ? [permitted.slice(0, dot), permitted.slice(dot)] : [permitted, '']
    return this.#take(this.#long, permitted, `long ${folded(permitted)}`, (n) => {
      const tail = cut(extension, 100)
      return `${cut(stem, longest - `~${n}`.length - tail.length)}~${n}${tail}`
    })
  }

  #alias(long: string): string {
    const upper = long.toUpperCase()
    const bare = upper.replace(/^\.+/, '').replaceAll(' ', '')
    const dot = bare.lastIndexOf('.')
    const [stem, extension] = dot > 0 ? [bare.slice(0, dot), bare.slice(dot + 1)] : [bare, '']
    const [base, type] = [shortened(stem.replaceAll('.', '')), shortened(extension).slice(0, 3)]
    const whole = `${base.padEnd(8)}${type.padEnd(3)}`
    const isExact = base.length <= 8 && base !== '' && upper === plain(whole)
    const key = `${base.slice(0, 6)}.${type}`
    return this.#take(this.#aliases, isExact ? whole : undefined, `alias ${key}`, (n) => {
      const number = `~${n}`
      return `${(base.slice(0, Math.min(6, 8 - number.length)) + number).padEnd(8)}${type.padEnd(3)}`
    })
  }

  #take(taken: Set<string>, wanted: string | undefined, key: string, numbered: (n: number) => string): string {
    if (wanted !== undefined && !taken.has(folded(wanted))) {
      taken.add(folded(wanted))
      return wanted
    }
    for (let n = this.#next.get(key) ?? 1; ; n++) {
      const name = numbered(n)
      if (taken.has(folded(name))) continue
      taken.add(folded(name))
      this.#next.set(key, n + 1)
      return name
    }
  }
}

/** Names that differ in upper and lower case only are the same. */
export function folded(name: string): string {
  return name.toUpperCase()
}

/** The checksum of an alias that its long name's entries carry. */
export function aliasChecksum(alias: Uint8Array): number {
  let sum = 0
  for (const byte of alias) sum = (((sum & 1) << 7) + (sum >> 1) + byte) & 0xff
  return sum
}

/** `NAME.EXT` of eight and three characters that are filled with spaces. */
export function plain(alias: string): string {
  const [base, type] = [alias.slice(0, 8).trimEnd(), alias.slice(8).trimEnd()]
  return type === '' ? base : `${base}.${type}`
}

function shortened(part: string): string {
  return [...part].map((character) => (shortCharacters.test(character) ? character : '_')).join('')
}

/** The first `length` code units, without half a character. */
function cut(text: string, length: number): string {
  return text.slice(0, length).replace(/[\ud800-\udbff]$/, '')
}

function bytesOf(alias: string): Uint8Array {
  return Uint8Array.from(alias, (character) => character.charCodeAt(0))
}
