import { nearestName } from '@diskgraph/core/internal'

/** The candidate that `word` was meant to be, if one is near enough: a letter off, or letters in another order. */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  const sorted = (text: string): string => [...text].sort().join('')
  return nearestName(word, candidates) ?? candidates.find((candidate) => sorted(candidate) === sorted(word))
}
