/** Votes: who says the same is one version, and the version that most say wins. */

/** What some voters, given by their indexes in rising order, have in common. */
export interface Version<T> {
  readonly value: T
  readonly voters: number[]
}

/** The versions among `values`, in the order in which each was first met. A missing value is no vote. */
export function countVotes<T>(
  values: readonly (T | undefined)[],
  same: (a: T, b: T) => boolean,
): readonly Version<T>[] {
  const versions: Version<T>[] = []
  for (const [voter, value] of values.entries()) {
    if (value === undefined) continue
    const known = versions.find((version) => same(version.value, value))
    if (known === undefined) versions.push({ value, voters: [voter] })
    else known.voters.push(voter)
  }
  return versions
}

/** The version with the most votes; of several, the one that was met last, as in QEMU. */
export function winnerOf<T>(versions: readonly Version<T>[]): Version<T> | undefined {
  let winner: Version<T> | undefined
  for (const version of versions) {
    if (winner === undefined || version.voters.length >= winner.voters.length) winner = version
  }
  return winner
}
