/** Conversions between the spellings of one option name: `l2CacheSize`, `l2-cache-size`, `l2_cache_size`. */

/** `cache-size` or `cache_size` as `cacheSize`; a name that is camelCase already stays. */
export function toCamelCase(name: string): string {
  return name.replace(/[-_]([a-z0-9])/g, (_, letter: string) => letter.toUpperCase())
}

/**
 * `cache-size` as `cacheSize`. QAPI knows no other spelling of it: `cacheSize` becomes `cache-Size`, which is no name of
 * an option here, and which {@link toKebabCase} turns back.
 */
export function fromQapiName(name: string): string {
  return name.replace(/-[a-z]|[A-Z]/g, (part) => (part.length > 1 ? (part[1] as string).toUpperCase() : `-${part}`))
}

/** `cacheSize` as `cache-size`, the spelling of QAPI. */
export function toKebabCase(name: string): string {
  return name.replace(/-?[A-Z]/g, (part) => (part.length > 1 ? (part[1] as string) : `-${part.toLowerCase()}`))
}

/**
 * A message about options, which it names as TypeScript does, in the spelling of QAPI and command lines. A name that is
 * `unexpected` stands there as it was given.
 */
export function inQapiSpelling(message: string): string {
  return message.replace(/(?<=[Pp]arameter '|option '|did you mean ')[\w.-]+(?='(?! is unexpected))/g, toKebabCase)
}

/** `cacheSize` as `cache_size`, the spelling of create options on command lines. */
export function toSnakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
}

/**
 * The candidate that is nearest to `word`, if it is near enough to be a slip of the fingers. Of several the first, or one as
 * long as the word: another key is hit more often than one too many.
 */
export function nearestName(word: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined
  let bestDistance = Math.max(1, Math.floor(word.length / 3)) + 1
  for (const candidate of candidates) {
    const distance = editDistance(word, candidate, bestDistance)
    const asLong = best !== undefined && best.length !== word.length && candidate.length === word.length
    if (distance < bestDistance || (distance === bestDistance && asLong)) {
      best = candidate
      bestDistance = distance
    }
  }
  return best
}

/** Levenshtein distance of two names; words too long to be names are `limit` apart. */
function editDistance(a: string, b: string, limit: number): number {
  if (a.length > 64 || b.length > 64) return limit
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const replace = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(replace, (row[j] as number) + 1, (next[j - 1] as number) + 1))
    }
    row = next
  }
  return row[b.length] as number
}
