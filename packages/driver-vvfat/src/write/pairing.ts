/**
 * Which file of the host each one of the guest is: first those of one name in one directory, then, for what is left, those
 * that begin with the same cluster, which were renamed or moved. What is left on the guest's side is new, on the host's gone.
 */
import { folded } from '../disk/names.ts'
import type { GuestDirectory, GuestEntry } from '../guest/tree.ts'
import { type Known, type KnownDirectory, knownBelow } from './known.ts'

/** See the top of the file. */
export class Pairing {
  readonly #known = new Map<GuestEntry, Known>()
  readonly #found = new Map<Known, GuestEntry>()

  constructor(guest: GuestDirectory, root: KnownDirectory) {
    this.#pair(guest, root)
    this.#pairNames(guest, root)
    const byCluster = new Map<string, Known>()
    for (const known of knownBelow(root)) {
      if (known.cluster !== 0 && !this.#found.has(known)) byCluster.set(placeOf(known), known)
    }
    if (byCluster.size > 0) this.#pairPlaces(guest, byCluster)
  }

  /** What a file or directory of the guest is on the host; undefined: it is new. */
  of(entry: GuestEntry): Known | undefined {
    return this.#known.get(entry)
  }

  /** Records what was made for a new one. */
  made(entry: GuestEntry, known: Known): void {
    this.#pair(entry, known)
  }

  /** What the guest has for one of the host; undefined: it is gone. */
  entryOf(known: Known): GuestEntry | undefined {
    return this.#found.get(known)
  }

  #pair(entry: GuestEntry, known: Known): void {
    this.#known.set(entry, known)
    this.#found.set(known, entry)
  }

  #pairNames(guest: GuestDirectory, directory: KnownDirectory): void {
    const byName = new Map([...directory.children].map((known) => [nameOf(known.kind, known.guestName), known]))
    for (const entry of guest.entries) {
      const known = byName.get(nameOf(entry.kind, entry.name))
      if (known === undefined || this.#found.has(known)) continue
      this.#pair(entry, known)
      if (entry.kind === 'directory' && known.kind === 'directory') this.#pairNames(entry, known)
    }
  }

  /** From the top down, so that what was moved together stays together. */
  #pairPlaces(guest: GuestDirectory, byCluster: ReadonlyMap<string, Known>): void {
    for (const entry of guest.entries) {
      const known = byCluster.get(placeOf(entry))
      if (!this.#known.has(entry) && known !== undefined && !this.#found.has(known)) {
        this.#pair(entry, known)
        if (entry.kind === 'directory' && known.kind === 'directory') this.#pairNames(entry, known)
      }
      if (entry.kind === 'directory') this.#pairPlaces(entry, byCluster)
    }
  }
}

function nameOf(kind: string, name: string): string {
  return `${kind} ${folded(name)}`
}

function placeOf({ kind, cluster }: GuestEntry | Known): string {
  return `${kind} ${cluster}`
}
